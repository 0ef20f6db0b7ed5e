"""Recipes: tensors in, `Rows` out."""

from torchicon.neighborhoods.bandwidth import Perplexity as Perplexity
from torchicon.neighborhoods.clusters import Clusters as Clusters
from torchicon.neighborhoods.conditional import condition as condition
from torchicon.neighborhoods.gaussian import Gaussian as Gaussian
from torchicon.neighborhoods.graph import Graph as Graph
from torchicon.neighborhoods.groups import Classes as Classes
from torchicon.neighborhoods.groups import Labels as Labels
from torchicon.neighborhoods.groups import Pairs as Pairs
from torchicon.neighborhoods.groups import Positives as Positives
from torchicon.neighborhoods.inner import Cosine as Cosine
from torchicon.neighborhoods.inner import Dot as Dot
from torchicon.neighborhoods.knn import KNN as KNN
from torchicon.neighborhoods.knn import NearestGaussian as NearestGaussian
from torchicon.neighborhoods.student_t import StudentT as StudentT
from torchicon.neighborhoods.transforms import debias as debias
from torchicon.neighborhoods.transforms import propagate as propagate
from torchicon.neighborhoods.transforms import symmetrize as symmetrize
