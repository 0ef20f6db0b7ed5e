"""A bandwidth for each anchor, so that all have the same effective number of neighbors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core import Kernel
from torchicon.core.compiled import operator
from torchicon.core.numerics import row_blocks
from torchicon.neighborhoods.perplexity import calibrate

_LARGEST_LOGIT = 1e30  # a row with ties for the nearest has no finite precision; this one is as sharp


@final
@dataclass(frozen=True)
class Perplexity:
    """Choose sigma_i so that exp(H(p_i)) = ``value`` (theory 1, "Perplexity"). Give it to `Gaussian`.

    Args:
        value: effective number of neighbors, at least 1 and less than the number of candidates.
    """

    value: float

    def __post_init__(self) -> None:
        if not self.value >= 1:
            raise ValueError(f"A perplexity counts neighbors and must be at least 1, got {self.value}.")


@operator(lambda unscaled, perplexity: ((unscaled.n,), torch.float64))
@torch.no_grad()
def precisions(unscaled: Kernel, perplexity: Perplexity) -> Tensor:
    """Precision beta_i = 1 / (2 sigma_i^2) of each anchor, (n,), for a kernel whose scores are -sq_dist."""
    found = []
    for rows in row_blocks(unscaled.n, 8 * unscaled.bytes_per_row(unscaled.m, gathered=False)):
        sq_dist = -unscaled.score_at(None, rows)
        beta = calibrate(sq_dist, perplexity.value).beta.to(sq_dist.device)
        farthest = sq_dist.masked_fill(sq_dist.isinf(), 0.0).amax(1).double().clamp_min(1e-30)
        largest = (_LARGEST_LOGIT / farthest).clamp_max(torch.finfo(sq_dist.dtype).max)
        found.append(torch.minimum(beta, largest))
    return torch.cat(found)
