"""Mini-batch K-Means (Sculley 2010): a pass over the rows in random batches instead of a Lloyd iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.estimators._lloyd import Partition, Totals, assign, finish, nearest
from torchicon.estimators._points import Points, frame_of, take
from torchicon.estimators._starts import plus_plus, sample

PATIENCE = 500  # rows for each center; a cluster of 1 % of an even share has had five of them


def minibatch(
    x: Points,
    n_clusters: int,
    generator: torch.Generator,
    *,
    batch_size: int,
    n_init: int = 10,
    max_iter: int = 300,
    tolerance: float = 1e-4,
    init: Tensor | None = None,
    weight: Tensor | None = None,
) -> tuple[Partition, Tensor]:
    """Passes over x (n, d) in random batches until one improves the inertia by less than the share ``tolerance``.

    The inertia of a pass is summed over its batches, each before its step: every row counts once, whatever the order.
    Begins at the centers ``init`` (c, d) or the best of ``n_init`` k-means++ starts. Returns the partition of all rows
    and the weight (c,) that each center has averaged.
    """
    frame = frame_of(x, weight)
    x = frame.enter(x)
    start = best_start(x, n_clusters, generator, n_init, weight) if init is None else frame.shift(init)
    centers, counts = start, torch.zeros(n_clusters, dtype=torch.float64, device=x.device)
    patience = min(PATIENCE * n_clusters, len(x))  # a pass has shown all there is
    iteration, improvement, before = 0, torch.inf, torch.inf
    while iteration < max_iter and improvement > tolerance:
        iteration += 1
        order = torch.randperm(len(x), generator=generator)
        inertia = 0.0
        for batch in torch.split(order, batch_size):
            rows = batch.sort().values  # a disk is read in one direction
            of_rows = None if weight is None else weight[rows]
            inertia += step(take(x, rows), centers, counts, generator, of_rows, patience=patience)
        improvement = (before - inertia) / max(inertia, torch.finfo(torch.float64).tiny)
        before = inertia
    labels = nearest(x, centers)
    found = finish(x, centers, labels, Totals(x, labels, n_clusters, weight), iteration)
    return found.outside(frame), counts


def step(
    rows: Tensor,
    centers: Tensor,
    counts: Tensor,
    generator: torch.Generator,
    weight: Tensor | None = None,
    *,
    patience: int,
) -> float:
    """Move each center, in place, to the mean of all it was ever given; the inertia of the rows before.

    That is gradient descent with the learning rate 1 / count of each center. One that was nearest to none of
    ``patience`` rows is drawn anew among these, in proportion to their squared distance.
    """
    labels, sq_dist = assign(rows, centers)
    totals = Totals(rows, labels, len(centers), weight)
    counts += totals.mass
    share = (totals.mass / torch.where(counts > 0, counts, 1.0))[:, None]
    centers += (share * (totals.means() - centers)).to(centers.dtype)
    cost = sq_dist.double() if weight is None else sq_dist * weight
    starved = (counts == 0).nonzero()[:, 0][: int((cost > 0).sum())]
    if len(starved) and counts.sum() >= patience * (totals.mass.sum() / totals.size.sum()):
        centers[starved] = rows[torch.multinomial(cost, len(starved), generator=generator)]
    return float(cost.sum())


def best_start(x: Points, n_clusters: int, generator: torch.Generator, n_init: int, weight: Tensor | None) -> Tensor:
    """Of several k-means++ starts the one of least inertia, on the rows among which they were sought."""
    rows, weight = sample(x, n_clusters, generator, weight)

    def inertia(centers: Tensor) -> float:
        sq_dist = assign(rows, centers)[1].double()
        return float(sq_dist.sum() if weight is None else weight @ sq_dist)

    return min((plus_plus(rows, n_clusters, generator, weight) for _ in range(n_init)), key=inertia)
