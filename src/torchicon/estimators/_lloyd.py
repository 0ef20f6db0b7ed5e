"""Lloyd's iterations: the zero-gap hard form of K-Means' reverse KL (theory 4e)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchicon.core.numerics import row_blocks


class Partition(NamedTuple):
    """Centers (c, d), the cluster of each point (n,), and the inertia: sum of squared distances to the own center."""

    centers: Tensor
    labels: Tensor
    inertia: float
    iterations: int


def assign(x: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest center (n,) of each point and the squared distance to it (n,)."""
    labels = torch.empty(len(x), dtype=torch.long, device=x.device)
    norms = centers.square().sum(1)
    for rows in row_blocks(len(x), 2 * len(centers) * x.dtype.itemsize):
        labels[rows] = torch.addmm(norms, x[rows], centers.T, alpha=-2.0).argmin(1)
    # From the difference: the expanded square of the product above cancels.
    return labels, (x - centers[labels]).square().sum(1)


def plus_plus(x: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur & Vassilvitskii 2007) with its greedy choice among 2 + log c draws; centers (c, d)."""
    draws = 2 + int(torch.tensor(float(n_clusters)).log())
    norms = x.square().sum(1)
    first = int(torch.randint(len(x), (1,), generator=generator))
    chosen, nearest = [first], (x - x[first]).square().sum(1)
    for _ in range(1, n_clusters):
        total = nearest.double().cumsum(0)
        if float(total[-1]) == 0:  # every point coincides with a center: any will do
            chosen.append(int(torch.randint(len(x), (1,), generator=generator)))
            continue
        at = torch.rand(draws, generator=generator, dtype=torch.float64).to(x.device) * total[-1]
        picked = torch.searchsorted(total, at, right=True).clamp_max(len(x) - 1)
        sq_dist = torch.addmm(norms, x[picked], x.T, alpha=-2.0) + norms[picked][:, None]
        candidates = torch.minimum(nearest, sq_dist.clamp_min(0))
        best = int(candidates.sum(1).argmin())
        chosen.append(int(picked[best]))
        nearest = candidates[best]
    return x[chosen]


def lloyd(x: Tensor, centers: Tensor, *, max_iter: int, tolerance: float) -> Partition:
    """Alternate assignment and means until no label changes or the centers move less than ``tolerance`` (squared).

    An empty cluster takes the point farthest from its center, of a cluster that has others.
    """
    labels, sq_dist = assign(x, centers)
    iteration = 0
    while iteration < max_iter:
        iteration += 1
        labels = _fill_empty(labels, sq_dist, len(centers))
        moved = means(x, labels, len(centers))
        shift = float((moved - centers).square().sum())
        centers = moved
        previous = labels
        labels, sq_dist = assign(x, centers)
        if torch.equal(labels, previous) or shift <= tolerance:
            break
    filled = _fill_empty(labels, sq_dist, len(centers))
    return Partition(centers, filled, float(sq_dist.double().sum()), iteration)


def means(x: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Mean (c, d) of each cluster's points; zero for one without any. A matrix product: scattering is slower."""
    total = x.new_zeros(n_clusters, x.shape[1])
    for rows in row_blocks(len(x), 2 * n_clusters * x.dtype.itemsize):
        total += torch.nn.functional.one_hot(labels[rows], n_clusters).to(x.dtype).T @ x[rows]
    return total / torch.bincount(labels, minlength=n_clusters).clamp_min(1)[:, None]


def _fill_empty(labels: Tensor, sq_dist: Tensor, n_clusters: int) -> Tensor:
    size = torch.bincount(labels, minlength=n_clusters)
    empty = (size == 0).nonzero()[:, 0].tolist()
    if not empty:
        return labels
    labels = labels.clone()
    farthest = iter(torch.argsort(sq_dist, descending=True, stable=True).tolist())
    for cluster in empty:
        point = next(i for i in farthest if size[labels[i]] > 1)
        size[labels[point]] -= 1
        size[cluster] += 1
        labels[point] = cluster
    return labels


def kmeans(
    x: Tensor,
    n_clusters: int,
    generator: torch.Generator,
    *,
    n_init: int = 10,
    max_iter: int = 300,
    tolerance: float = 1e-4,
) -> Partition:
    """The best of ``n_init`` k-means++ starts by inertia; ``tolerance`` is relative to the mean column variance."""
    center = x.mean(0)
    unit = power_of_two(x - center)
    centered = (x - center) / unit  # squares of large offsets would cancel, of huge numbers overflow
    scaled = tolerance * float(centered.square().mean())
    best: Partition | None = None
    for _ in range(n_init):
        found = lloyd(centered, plus_plus(centered, n_clusters, generator), max_iter=max_iter, tolerance=scaled)
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None  # n_init is at least 1
    return best._replace(centers=best.centers * unit + center, inertia=best.inertia * unit * unit)


def power_of_two(x: Tensor) -> float:
    """The power of two at or below the largest magnitude, 1 for zeros: dividing by it rounds nothing."""
    peak = float(x.abs().max())
    return 2.0 ** (math.frexp(peak)[1] - 1) if peak > 0 else 1.0
