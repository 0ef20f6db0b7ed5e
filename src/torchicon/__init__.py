"""I-Con for PyTorch: one equation, ``sum_i KL(p(.|i) || q(.|i))``, and every method that is a case of it."""

from typing import TYPE_CHECKING, Any

from torchicon._version import __version__ as __version__
from torchicon.core import Candidates as Candidates
from torchicon.core import CandidatesError as CandidatesError
from torchicon.core import Cluster as Cluster
from torchicon.core import Dense as Dense
from torchicon.core import Kernel as Kernel
from torchicon.core import Mixture as Mixture
from torchicon.core import Rows as Rows
from torchicon.core import Sparse as Sparse
from torchicon.core import SupportError as SupportError
from torchicon.core import block_budget as block_budget
from torchicon.core import both_wide as both_wide
from torchicon.core import cross_entropy as cross_entropy
from torchicon.core import entropy as entropy
from torchicon.core import explain as explain
from torchicon.core import gather as gather
from torchicon.core import joint_kl as joint_kl
from torchicon.core import kernel_sum as kernel_sum
from torchicon.core import kl as kl
from torchicon.core import mean_over_ranks as mean_over_ranks
from torchicon.core import narrow as narrow
from torchicon.core import objective as objective
from torchicon.core import register_route as register_route
from torchicon.core import wide as wide
from torchicon.methods import IDENTITIES as IDENTITIES
from torchicon.methods import TABLE as TABLE
from torchicon.methods import Method as Method
from torchicon.methods import cite as cite
from torchicon.methods import find as find
from torchicon.methods import periodic_table as periodic_table
from torchicon.neighborhoods import KNN as KNN
from torchicon.neighborhoods import Classes as Classes
from torchicon.neighborhoods import Clusters as Clusters
from torchicon.neighborhoods import Cosine as Cosine
from torchicon.neighborhoods import Dot as Dot
from torchicon.neighborhoods import Exponential as Exponential
from torchicon.neighborhoods import Gaussian as Gaussian
from torchicon.neighborhoods import Graph as Graph
from torchicon.neighborhoods import Harmonic as Harmonic
from torchicon.neighborhoods import Labels as Labels
from torchicon.neighborhoods import NearestGaussian as NearestGaussian
from torchicon.neighborhoods import Pairs as Pairs
from torchicon.neighborhoods import Perplexity as Perplexity
from torchicon.neighborhoods import Positives as Positives
from torchicon.neighborhoods import StudentT as StudentT
from torchicon.neighborhoods import SumOfKernels as SumOfKernels
from torchicon.neighborhoods import condition as condition
from torchicon.neighborhoods import debias as debias
from torchicon.neighborhoods import propagate as propagate
from torchicon.neighborhoods import symmetrize as symmetrize

if TYPE_CHECKING:
    from torchicon.estimators import SNE as SNE
    from torchicon.estimators import TSNE as TSNE
    from torchicon.estimators import Clustering as Clustering
    from torchicon.estimators import ICon as ICon
    from torchicon.estimators import KMeans as KMeans
    from torchicon.estimators import NeighborEmbedding as NeighborEmbedding
    from torchicon.estimators import NormalizedCuts as NormalizedCuts

# Estimators need scikit-learn and FAISS: loaded when one is asked for, so that a loss costs torch alone.
_ESTIMATORS = ("Clustering", "ICon", "KMeans", "NeighborEmbedding", "NormalizedCuts", "SNE", "TSNE")

__all__ = [
    "IDENTITIES",
    "KNN",
    "SNE",
    "TABLE",
    "TSNE",
    "Candidates",
    "CandidatesError",
    "Classes",
    "Cluster",
    "Clustering",
    "Clusters",
    "Cosine",
    "Dense",
    "Dot",
    "Exponential",
    "Gaussian",
    "Graph",
    "Harmonic",
    "ICon",
    "KMeans",
    "Kernel",
    "Labels",
    "Method",
    "Mixture",
    "NearestGaussian",
    "NeighborEmbedding",
    "NormalizedCuts",
    "Pairs",
    "Perplexity",
    "Positives",
    "Rows",
    "Sparse",
    "StudentT",
    "SumOfKernels",
    "SupportError",
    "block_budget",
    "both_wide",
    "cite",
    "condition",
    "cross_entropy",
    "debias",
    "entropy",
    "explain",
    "find",
    "gather",
    "joint_kl",
    "kernel_sum",
    "kl",
    "mean_over_ranks",
    "narrow",
    "objective",
    "periodic_table",
    "propagate",
    "register_route",
    "symmetrize",
    "wide",
]


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module 'torchicon' has no attribute {name!r}")
    from torchicon import estimators

    return getattr(estimators, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ESTIMATORS])
