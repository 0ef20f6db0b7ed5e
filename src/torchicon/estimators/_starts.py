"""Where K-Means starts: k-means++, among some of the rows where there are many."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchicon.estimators._points import Points, take

_ROWS = 2**15  # among which starts are sought, or 32 for each cluster if that is more


def sample(
    x: Points, n_clusters: int, generator: torch.Generator, weight: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """At most 32,768 rows (or 32 for each cluster if that is more) of x (n, d) with their weights."""
    most = max(_ROWS, 32 * n_clusters)
    if len(x) <= most:
        return x[:], weight
    order = torch.randperm(len(x), generator=generator, device=generator.device)
    if weight is not None:
        order = order[weight[order] > 0]
    index = order[:most].sort().values  # a disk is read in one direction
    return take(x, index), None if weight is None else weight[index]


def plus_plus(x: Tensor, n_clusters: int, generator: torch.Generator, weight: Tensor | None = None) -> Tensor:
    """k-means++ (Arthur & Vassilvitskii 2007) with its greedy choice among 2 + log c draws; centers (c, d)."""
    draws = 2 + int(math.log(n_clusters))
    norms = x.square().sum(1)

    def any_point() -> int:
        if weight is None:
            return int(torch.randint(len(x), (1,), generator=generator, device=generator.device))
        return int(torch.multinomial(weight, 1, generator=generator))

    chosen = [any_point()]
    nearest_sq = (x - x[chosen[0]]).square().sum(1)
    for _ in range(1, n_clusters):
        total = (nearest_sq.double() if weight is None else nearest_sq * weight).cumsum(0)
        if float(total[-1]) == 0:  # every point coincides with a center: any will do
            chosen.append(any_point())
            continue
        at = torch.rand(draws, generator=generator, dtype=torch.float64, device=generator.device)
        at = at.to(x.device) * total[-1]
        picked = torch.searchsorted(total, at, right=True).clamp_max(len(x) - 1)
        sq_dist = torch.addmm(norms, x[picked], x.T, alpha=-2.0) + norms[picked, None]
        candidates = torch.minimum(nearest_sq, sq_dist.clamp_min_(0))
        remains = candidates.sum(1) if weight is None else candidates.double() @ weight
        best = int(remains.argmin())
        chosen.append(int(picked[best]))
        nearest_sq = candidates[best]
    return x[chosen]
