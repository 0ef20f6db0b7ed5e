"""Choosing without labels: a consensus of the better heads, and whether it beats plain K-Means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from torchicon.estimators._lloyd import assign, kmeans
from torchicon.estimators.clustering.heads import Heads

_ROWS = 20_000  # rows on which centers are found, or 32 for each cluster if that is more
_RESTARTS = 1000  # K-Means starts times clusters, where that is between one start and ten
_WIDTH = 256  # numbers beside each other that K-Means sees of a row; more are projected to these


def rows_of(n: int, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Enough of n rows, drawn, for K-Means to find its centers on."""
    most = max(_ROWS, 32 * n_clusters)
    if n <= most:
        return torch.arange(n, device=generator.device)
    return torch.randperm(n, generator=generator, device=generator.device)[:most]


def restarts(n_clusters: int) -> int:
    """K-Means starts: with many clusters no start stands out from the others, and each takes long."""
    return min(10, max(1, _RESTARTS // n_clusters))


def consensus(heads: Heads, kept: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Labels (n,): K-Means on the side-by-side probabilities of the half of the heads that keep the most, (H,).

    Clusters need no matching between heads, and none comes out empty. Distances between long rows are kept by a random
    projection (Johnson & Lindenstrauss 1984).
    """
    better = heads.pick(kept.argsort(descending=True)[: max(1, len(kept) // 2)].to(x.device))
    n_heads, _, n_clusters = better.groups.shape
    projection = None
    if n_heads * n_clusters > _WIDTH:
        drawn = torch.randn(n_heads, n_clusters, _WIDTH, generator=generator, device=generator.device)
        projection = (drawn * _WIDTH**-0.5).to(x.device)

    def beside(x: Tensor) -> Tensor:
        def side_by_side(phi: Tensor) -> Tensor:
            return phi.transpose(0, 1).flatten(1) if projection is None else torch.bmm(phi, projection).sum(0)

        return torch.cat([side_by_side(phi) for _, phi in better.blocks(x)])

    rows = rows_of(len(x), n_clusters, generator).to(x.device)
    found = kmeans(beside(x[rows]), n_clusters, generator, n_init=restarts(n_clusters))
    if len(rows) == len(x):
        return found.labels
    return torch.cat([assign(beside(block), found.centers)[0] for block in torch.split(x, _ROWS)])


def agreement(heads: Heads, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each head, the share of rows x on which it agrees with labels after the best matching, and that matching.

    Returns (H,) shares and (H, c) clusters: which of the head's is that label.
    """
    n_clusters = heads.groups.shape[2]
    share, source = [], []
    for said in heads.labels(x):
        counts = torch.bincount(labels * n_clusters + said, minlength=n_clusters**2).view(n_clusters, n_clusters)
        row, column = linear_sum_assignment(counts.cpu().numpy(), maximize=True)
        source.append(torch.from_numpy(column))
        share.append(counts.cpu()[row, column].sum() / len(x))
    return torch.stack(share).to(x.device), torch.stack(source).to(x.device)


def soft_targets(labels: Tensor, heads: Heads, x: Tensor) -> Callable[[Tensor], Tensor]:
    """From row indices of x to probabilities (..., c), half from the labels (n,) and half from all heads.

    The heads' clusters are those of the labels, in order. Where heads disagree the target is unsure, and so will be the
    head that learns it.
    """
    n_clusters = heads.groups.shape[2]
    mean = torch.cat([phi.mean(0) for _, phi in heads.blocks(x)])

    def of(index: Tensor) -> Tensor:
        return 0.5 * (torch.nn.functional.one_hot(labels[index], n_clusters) + mean[index])

    return of
