"""The definition of a neighbor embedding's objective, dense, and small neighborhoods to try it on."""

import scipy.sparse as sps
import torch
from torch import Tensor

from torchicon import Candidates, Gaussian, Sparse, StudentT
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import weights
from torchicon.neighborhoods.nearest import nearest
from torchicon.neighborhoods.perplexity import calibrate

CAUCHY, GAUSSIAN = MapKernel.of(StudentT()), MapKernel.of(Gaussian(0.5**0.5))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def p_of(x, k: int, perplexity: float, normalization: str) -> sps.csr_array:
    found = nearest(x, k)
    log_p = calibrate(found.value, perplexity).log_p
    return weights(Sparse.from_neighbors(found.index, log_p, candidates=Candidates.others(len(x))), normalization)


def small_p(normalization: str) -> sps.csr_array:
    return p_of(normal(40, 6, seed=1), 12, 5.0, normalization)


def to_dense(p: sps.csr_array) -> Tensor:
    return torch.from_numpy(p.toarray())


def dense_kl(p: Tensor, y: Tensor, kernel: MapKernel, normalization: str) -> Tensor:
    """The definition: KL of joint distributions, or the sum of KLs of the rows."""
    own = torch.eye(len(y), dtype=torch.bool)
    log_k = kernel.log_value((y[:, None] - y[None]).square().sum(-1)).masked_fill(own, -torch.inf)
    log_q = log_k - (log_k.logsumexp((0, 1)) if normalization == "joint" else log_k.logsumexp(1, keepdim=True))
    cells = p > 0
    return (p[cells] * (p[cells].log() - log_q[cells])).sum()


def csr(rows: list[list[float]]) -> sps.csr_array:
    return sps.csr_array(torch.tensor(rows, dtype=torch.float64).numpy())
