"""Hard partitions by their normalized cut, sum_c cut(c) / vol(c): its value, merging, and moves that lower it."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from torchicon.estimators._lloyd import kmeans

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

_CELLS = 3  # per cluster: a cluster in two cells can be merged, a cell of two clusters cannot be parted
_LLOYD_STEPS = 3  # cells need no more: merging and moving decide
_LEAST = 1e-12  # smaller changes of the cut are rounding


class Graph(NamedTuple):
    """Symmetric nonnegative weights (n, n) without loops, sparse, or dense where most are positive; degrees (n,)."""

    weight: csr_array | Floats
    degree: Floats

    @classmethod
    def of(cls, affinity: csr_array) -> Self:
        """The form whose products cost less."""
        n = affinity.shape[0]
        return cls(affinity.toarray() if affinity.nnz > n * n / 4 else affinity, affinity.sum(1))

    def links(self, labels: Labels, count: int) -> Floats:
        """Weight (n, count) from each point to each cluster."""
        return _dense(self.weight @ _members(labels, count))

    def between(self, labels: Labels, count: int) -> Floats:
        """Weight (count, count) from each cluster to each; a row sums to the cluster's volume."""
        members = _members(labels, count)
        return _dense(members.T @ (self.weight @ members))


def _members(labels: Labels, count: int) -> csr_array:
    return csr_array((np.ones(len(labels)), labels, np.arange(len(labels) + 1)), shape=(len(labels), count))


def _dense(matrix: csr_array | Floats) -> Floats:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


class Cut(NamedTuple):
    """A partition: cluster of each point (n,), weight to *other* clusters (n, c), what leaves a cluster, its volume."""

    labels: Labels
    links: Floats
    leaving: Floats
    volume: Floats

    @classmethod
    def of(cls, graph: Graph, labels: Labels, n_clusters: int) -> Self:
        """Measure a partition without empty clusters."""
        links = graph.links(labels, n_clusters)
        links[np.arange(len(labels)), labels] = 0.0
        leaving, volume = np.zeros(n_clusters), np.zeros(n_clusters)
        np.add.at(leaving, labels, links.sum(1))
        np.add.at(volume, labels, graph.degree)
        return cls(labels, links, leaving, volume)

    @property
    def value(self) -> float:
        """NCut, in 0 .. c."""
        return float((self.leaving / self.volume).sum())


def search(graph: Graph, embedding: Tensor, n_clusters: int, generator: torch.Generator, *, n_init: int) -> Cut:
    """The lowest cut of ``n_init`` partitions, each merged from k-means cells of the embedding and refined.

    Points weigh their degree in k-means: with eigenvectors / sqrt(degree) as the embedding, its sum of squares is then
    what a relaxed cut rounds to (Bach & Jordan 2006).
    """
    weight = torch.from_numpy(graph.degree)
    found = []
    for _ in range(n_init):
        count = min(_CELLS * n_clusters, len(embedding))
        start = kmeans(embedding, count, generator, n_init=1, max_iter=_LLOYD_STEPS, weight=weight)
        cells = start.labels.numpy()
        found.append(refine(graph, merge(graph.between(cells, count), n_clusters)[cells], n_clusters))
    return min(found, key=lambda cut: cut.value)


def merge(between: Floats, n_clusters: int) -> Labels:
    """Cluster (K,) of each cell, by greedily merging the two whose union keeps the most of sum inside / volume.

    ``between`` (K, K) has the weights between cells, as of `Graph.between`.
    """
    between = between.copy()
    k = len(between)
    volume = between.sum(1)
    gain = np.stack([_gain(between, volume, cell) for cell in range(k)])
    cluster, alive = np.arange(k), np.ones(k, dtype=bool)
    for _ in range(k - n_clusters):
        into, gone = divmod(int(gain.argmax()), k)
        between[into] += between[gone]
        between[:, into] += between[:, gone]
        volume[into] += volume[gone]
        cluster[cluster == gone] = into
        alive[gone] = False
        # Only pairs with the merged cell have another gain now.
        gain[into] = gain[:, into] = np.where(alive, _gain(between, volume, into), -np.inf)
        gain[gone] = gain[:, gone] = -np.inf
    return np.unique(cluster, return_inverse=True)[1]


def _gain(between: Floats, volume: Floats, cell: int) -> Floats:
    inside = np.diag(between)
    union = (inside[cell] + inside + 2 * between[cell]) / (volume[cell] + volume)
    gain: Floats = union - inside[cell] / volume[cell] - inside / volume
    gain[cell] = -np.inf
    return gain


def refine(graph: Graph, labels: Labels, n_clusters: int) -> Cut:
    """Move border points where that lowers the cut, many at a time, until no single move does. It never rises.

    Each point's best move is exact as long as the others stay; together they are kept only if the cut falls, or else
    the better half of them is tried. No cluster loses its last point.
    """
    cut = Cut.of(graph, labels, n_clusters)
    while True:
        points, target = _moves(graph.degree, cut)
        while len(points):
            labels = cut.labels.copy()
            labels[points] = target
            if np.bincount(labels, minlength=n_clusters).min() > 0:
                moved = Cut.of(graph, labels, n_clusters)
                if moved.value < cut.value:
                    break
            points, target = points[: len(points) // 2], target[: len(points) // 2]
        else:
            return cut
        cut = moved


def _moves(degree: Floats, cut: Cut) -> tuple[Labels, Labels]:
    """Points that would lower the cut by a move of their own, best first, and where to.

    A point without an edge to another cluster never would: both ratios rise.
    """
    ratio = cut.leaving / cut.volume
    points = np.flatnonzero(cut.links.any(1))
    own, degree, links = cut.labels[points], degree[points], cut.links[points]
    rest = cut.volume[own] - degree
    left = np.full(len(points), np.inf)  # the own cluster's ratio afterwards, if it has other points
    np.divide(cut.leaving[own] + degree - 2 * links.sum(1), rest, out=left, where=rest > 0)
    entered = (cut.leaving + degree[:, None] - 2 * links) / (cut.volume + degree[:, None]) - ratio
    entered[np.arange(len(points)), own] = np.inf
    change = left - ratio[own] + entered.min(1, initial=np.inf)
    order = np.argsort(change, kind="stable")
    order = order[change[order] < -_LEAST]
    return points[order], entered[order].argmin(1)
