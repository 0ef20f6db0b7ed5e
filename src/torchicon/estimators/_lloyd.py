"""Lloyd's iterations: the zero-gap hard form of K-Means' reverse KL (theory 4e).

Three things make an iteration cheap, none of which changes its result. Scores are computed in tiles, each in a thread
of its own, clusters in the rows, where minima are vectorized. A point is looked at again only if its center and the
others can have moved past each other since (Hamerly 2010). Sums of clusters follow the points that changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from torchicon.core.numerics import block_bytes
from torchicon.estimators._points import Frame, Points, frame_of, take
from torchicon.estimators._starts import plus_plus, sample
from torchicon.estimators._workers import Workers, workers

_TILE_BYTES = 2**23  # of scores: less, and calling the operations costs more than they do
_FEWEST_ROWS = 256  # of a tile: fewer make poor matrix products
_MOST_PICKED = 0.8  # of the rows: above, going through all is faster than picking

ALONE = Workers()


class Partition(NamedTuple):
    """Centers (c, d), the cluster of each point (n,), and the inertia: sum of squared distances to the own center."""

    centers: Tensor
    labels: Tensor
    inertia: float
    iterations: int

    def outside(self, frame: Frame) -> Partition:
        """What was found within a frame, as seen from outside."""
        return self._replace(centers=frame.leave(self.centers), inertia=self.inertia * frame.unit**2)


def _tiles(n: int, bytes_per_row: int, workers: int = 1) -> list[slice]:
    """Blocks of rows, as many for each worker."""
    most = max(1, min(max(_FEWEST_ROWS, _TILE_BYTES // bytes_per_row), block_bytes() // bytes_per_row))
    rows = max(1, math.ceil(n / (math.ceil(n / most / workers) * workers)), min(_FEWEST_ROWS, most))
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


class _Scorer:
    """Squared distances (c, t) of rows (t, d) to centers (c, d), less the rows' own squared norms."""

    def __init__(self, centers: Tensor) -> None:
        self.sq_norms = centers.square().sum(1, keepdim=True)
        self._doubled = -2.0 * centers
        self._countdown = torch.arange(len(centers), 0, -1, dtype=centers.dtype, device=centers.device)[:, None]

    def __call__(self, rows: Tensor) -> Tensor:
        return torch.mm(self._doubled, rows.T).add_(self.sq_norms)  # faster than addmm

    def first_smallest(self, scores: Tensor) -> Tensor:
        """Argmin (t,) of scores (c, t), which are overwritten, in vectorized operations."""
        return len(scores) - scores.eq_(scores.amin(0)).mul_(self._countdown).amax(0).long()


def nearest(x: Points, centers: Tensor, crew: Workers = ALONE) -> Tensor:
    """Nearest center (n,) of each point, the first of equal ones."""
    labels = torch.empty(len(x), dtype=torch.long, device=x.device)
    score = _Scorer(centers)

    def find(rows: slice) -> None:
        labels[rows] = score.first_smallest(score(x[rows]))

    crew.each(find, _tiles(len(x), len(centers) * x.dtype.itemsize, crew.count))
    return labels


def assign(x: Points, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest center (n,) of each point and the squared distance to it (n,)."""
    labels = nearest(x, centers)
    return labels, own_sq_dist(x, centers, labels)


def own_sq_dist(x: Points, centers: Tensor, labels: Tensor, crew: Workers = ALONE) -> Tensor:
    """Squared distance (n,) of each point to its center, from the difference: the expanded square cancels."""
    sq_dist = torch.empty(len(x), dtype=x.dtype, device=x.device)

    def find(rows: slice) -> None:
        sq_dist[rows] = (x[rows] - centers.index_select(0, labels[rows])).square_().sum(1)

    crew.each(find, _tiles(len(x), 2 * x.shape[1] * x.dtype.itemsize, crew.count))
    return sq_dist


class Totals:
    """Weighted sums (c, d), weights (c,) and numbers of members (c,), in float64: following changes rounds them by
    less than float32 points can show. Points without weight are no members.
    """

    def __init__(
        self, x: Points, labels: Tensor, n_clusters: int, weight: Tensor | None = None, crew: Workers = ALONE
    ) -> None:
        self._x, self.weight, self._n_clusters, self._crew = x, weight, n_clusters, crew
        tiles = _tiles(len(x), 16 * x.shape[1], crew.count)
        parts = crew.each(lambda rows: self._of(x[rows], None if weight is None else weight[rows], labels[rows]), tiles)
        self.sums, self.mass, self.size = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))

    def move(self, index: Tensor, old: Tensor, new: Tensor) -> None:
        """Points at ``index`` (m,) leave clusters ``old`` (m,) for ``new`` (m,)."""
        for rows in _tiles(len(index), 16 * self._x.shape[1]):
            block = take(self._x, index[rows])
            weight = None if self.weight is None else self.weight[index[rows]]
            of = partial(self._of, block, weight)
            came, went = self._crew.each(of, [new[rows], old[rows]])
            for total, more, less in zip((self.sums, self.mass, self.size), came, went, strict=True):
                total += more - less
        gone = self.size == 0  # what rounding left behind
        self.sums[gone], self.mass[gone] = 0.0, 0.0

    def means(self) -> Tensor:
        """Mean (c, d) of each cluster; zero for one without members."""
        return (self.sums / torch.where(self.size > 0, self.mass, 1.0)[:, None]).to(self._x.dtype)

    def _of(self, block: Tensor, weight: Tensor | None, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sums = torch.zeros(self._n_clusters, block.shape[1], dtype=torch.float64, device=block.device)
        sums.index_add_(0, labels, block.double() if weight is None else block * weight[:, None])
        counted = labels if weight is None else labels[weight > 0]
        mass = torch.bincount(labels, weight, minlength=self._n_clusters).double()
        return sums, mass, torch.bincount(counted, minlength=self._n_clusters)


def means(x: Points, labels: Tensor, n_clusters: int) -> Tensor:
    """Mean (c, d) of each cluster's points; zero for one without any."""
    return Totals(x, labels, n_clusters).means()


def lloyd(x: Points, centers: Tensor, *, max_iter: int, tolerance: float, weight: Tensor | None = None) -> Partition:
    """Alternate assignment and means until no label changes or the centers move less than ``tolerance`` (squared).

    An empty cluster takes the point farthest from its center, of a cluster that has others. Points may have weights
    (n,) in float64.
    """
    with workers() as crew:
        labels = nearest(x, centers, crew)
        totals = Totals(x, labels, len(centers), weight, crew)
        bounds = _Bounds(x, labels, len(centers), crew)
        iteration, shift = 0, torch.inf
        while iteration < max_iter and shift > tolerance:
            iteration += 1
            bounds.gap[fill_empty(x, centers, labels, totals)] = 0.0
            moved = totals.means()
            drift = (moved - centers).double().square().sum(1)
            shift, centers = float(drift.sum()), moved
            wrong, new = bounds.passed(centers, drift.sqrt())
            if not len(wrong):
                break
            totals.move(wrong, labels[wrong], new)
            labels[wrong] = new
        return finish(x, centers, labels, totals, iteration, crew)


class _Bounds:
    """Which points may have another nearest center than their own (Hamerly 2010, "Making k-means even faster").

    ``gap`` (n,) is at most what the second nearest center is farther than the own: while it is positive, nothing can
    have changed.
    """

    def __init__(self, x: Points, labels: Tensor, n_clusters: int, crew: Workers) -> None:
        self._x, self._labels, self._crew = x, labels, crew
        self._tiles = _tiles(len(x), n_clusters * x.dtype.itemsize, crew.count)
        self._sq_norm = torch.cat([torch.linalg.vector_norm(x[rows], dim=1).square() for rows in self._tiles])
        self._rounding = (x.shape[1] + 8) * torch.finfo(x.dtype).eps  # of d products, a few sums and a root
        self.gap = torch.zeros(len(x), dtype=torch.float64, device=x.device)

    def passed(self, centers: Tensor, drift: Tensor) -> tuple[Tensor, Tensor]:
        """Points (m,) with another nearest center, now that the centers moved by ``drift`` (c,), and which (m,)."""
        fastest = torch.nn.functional.pad(drift, (0, 1)).topk(2)
        itself = torch.arange(len(drift), device=drift.device) == fastest.indices[0]
        closer = drift + torch.where(itself, fastest.values[1], fastest.values[0])
        score = _Scorer(centers)
        wrong, new = zip(*self._crew.each(lambda rows: self._visit(rows, score, closer), self._tiles), strict=True)
        return torch.cat(wrong), torch.cat(new)

    def _visit(self, rows: slice, score: _Scorer, closer: Tensor) -> tuple[Tensor, Tensor]:
        gap, own = self.gap[rows], self._labels[rows]
        gap -= closer.index_select(0, own)
        index = (gap <= 0).nonzero()[:, 0]
        if len(index) > _MOST_PICKED * len(gap):
            index = torch.arange(len(gap), device=gap.device)
            points = self._x[rows]
        else:
            points = take(self._x, index + rows.start)
        own, sq_norm = own.index_select(0, index)[None], self._sq_norm[rows].index_select(0, index)
        scores = score(points)
        to_own = scores.gather(0, own)[0]
        to_others = scores.scatter_(0, own, torch.inf).amin(0)
        wrong = (to_others < to_own).nonzero()[:, 0]
        new = score.first_smallest(scores.index_select(1, wrong))
        # A point is skipped only if no rounding could hide a change.
        error = (sq_norm + score.sq_norms.max()) * self._rounding
        near, far = to_own.add_(sq_norm).add_(error), to_others.add_(sq_norm).sub_(error)
        # Negative for a wrong point, which is so looked at again next time: its second nearest center is not known yet.
        gap.index_copy_(0, index, far.clamp_min_(0).sqrt_().sub_(near.clamp_min_(0).sqrt_()).double())
        return index[wrong] + rows.start, new


def fill_empty(x: Points, centers: Tensor, labels: Tensor, totals: Totals) -> Tensor:
    """Give each empty cluster the point farthest from its center, in place; returns the points (m,) that moved."""
    empty = (totals.size == 0).nonzero()[:, 0]
    moved = labels.new_zeros(len(empty))
    if len(empty):
        sq_dist = own_sq_dist(x, centers, labels)
        if totals.weight is not None:
            sq_dist[totals.weight == 0] = -1.0  # they would leave the cluster as empty as it is
        farthest = iter(torch.argsort(sq_dist, descending=True, stable=True).tolist())
        for place, cluster in enumerate(empty):
            moved[place] = next(i for i in farthest if totals.size[labels[i]] > 1)
            point = moved[place : place + 1]
            totals.move(point, labels[point], cluster[None])
            labels[point] = cluster
    return moved


def finish(
    x: Points, centers: Tensor, labels: Tensor, totals: Totals, iterations: int, crew: Workers = ALONE
) -> Partition:
    """The partition, without empty clusters and with its inertia."""
    filled = fill_empty(x, centers, labels, totals)
    centers = centers.index_copy(0, labels[filled], take(x, filled))
    sq_dist = own_sq_dist(x, centers, labels, crew).double()
    inertia = sq_dist.sum() if totals.weight is None else totals.weight @ sq_dist
    return Partition(centers, labels, float(inertia), iterations)


def kmeans(
    x: Points,
    n_clusters: int,
    generator: torch.Generator,
    *,
    n_init: int = 10,
    max_iter: int = 300,
    tolerance: float = 1e-4,
    init: Tensor | None = None,
    weight: Tensor | None = None,
) -> Partition:
    """The best of ``n_init`` k-means++ starts by inertia, or from the centers ``init`` (c, d).

    ``tolerance`` is relative to the mean column variance.
    """
    frame = frame_of(x, weight)
    x = frame.enter(x)
    if init is None:
        rows, of_rows = sample(x, n_clusters, generator, weight)
        begin: Iterator[Tensor] = (plus_plus(rows, n_clusters, generator, of_rows) for _ in range(n_init))
    else:
        begin = iter([frame.shift(init)])
    found = (lloyd(x, start, max_iter=max_iter, tolerance=tolerance * frame.spread, weight=weight) for start in begin)
    return min(found, key=lambda partition: partition.inertia).outside(frame)
