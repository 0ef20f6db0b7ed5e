"""The definition of a neighbor embedding's objective, dense, and small neighborhoods to try it on."""

import torch
from torch import Tensor

from torchicon.estimators._edges import Edges
from torchicon.neighborhoods.nearest import nearest
from torchicon.neighborhoods.perplexity import calibrate


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def neighborhoods(n: int = 40, k: int = 12, perplexity: float = 5.0) -> tuple[Tensor, Tensor]:
    found = nearest(normal(n, 6, seed=1), k)
    return found.index, calibrate(found.value, perplexity).log_p


def to_dense(p: Edges) -> Tensor:
    dense = torch.zeros(p.n, p.n, dtype=torch.float64)
    dense[p.rows, p.columns] = p.weight
    return dense


def dense_kl(p: Tensor, y: Tensor, kernel, normalization: str) -> Tensor:
    """The definition: KL of joint distributions, or the sum of KLs of the rows."""
    own = torch.eye(len(y), dtype=torch.bool)
    log_k = kernel.log_value((y[:, None] - y[None]).square().sum(-1)).masked_fill(own, -torch.inf)
    log_q = log_k - (log_k.logsumexp((0, 1)) if normalization == "joint" else log_k.logsumexp(1, keepdim=True))
    cells = p > 0
    return (p[cells] * (p[cells].log() - log_q[cells])).sum()


def edges(rows: list[list[float]]) -> Edges:
    dense = torch.tensor(rows, dtype=torch.float64)
    cells = dense != 0
    starts = torch.cat([torch.zeros(1, dtype=torch.long), cells.sum(1).cumsum(0)])
    return Edges(starts, cells.nonzero()[:, 1], dense[cells])
