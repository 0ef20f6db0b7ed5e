"""The kNN graph whose edges say which points belong together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.sparse import csr_array
from torch import Tensor

from torchicon.core import Candidates, Sparse
from torchicon.core.numerics import row_blocks
from torchicon.neighborhoods.nearest import nearest

_POOL = 50  # neighbors among which the k closest by locally scaled distance are kept


def knn_graph(x: Tensor, k: int, *, cosine: bool) -> tuple[Sparse, float]:
    r"""Uniform rows over the k nearest by locally scaled distance $|x_i - x_j| / \sqrt{s_i s_j}$, and their recall.

    s_i is the mean distance to the k nearest (Zelnik-Manor & Perona 2004): it keeps dense regions from becoming
    everyone's neighbor in high dimensions. Self is a candidate but no neighbor. The recall is that of the 50 nearest,
    among which these are chosen. Under ``cosine`` x becomes its rows' directions: a copy may not fit beside the search.
    """
    if cosine:  # not the search's own cosine: a row at the center has no direction, and is everyone's equal here
        torch.nn.functional.normalize(x, dim=1, out=x)
    columns, recall = _locally_nearest(x, k)
    return Sparse.from_neighbors(columns, candidates=Candidates.all(len(x))), recall


def _locally_nearest(x: Tensor, k: int) -> tuple[Tensor, float]:
    """The neighbors (n, k), and the recall of the search."""
    n = len(x)
    pool = min(max(_POOL, k), n - 1)
    found = nearest(x, pool)
    scale = found.value[:, :k].clamp_min(0).sqrt().mean(1)
    columns = found.index.new_empty(n, k)
    for rows in row_blocks(n, 40 * pool):
        dist, index = found.value[rows].clamp_min(0).sqrt(), found.index[rows]
        # The anchor's own scale does not change the order of its neighbors, so only theirs is divided by. Duplicates
        # have scale 0: near to each other, far from all others.
        local = torch.where(dist > 0, dist / scale[index].sqrt(), 0.0)
        columns[rows] = index.gather(1, torch.argsort(local, dim=1, stable=True)[:, :k])
    return columns, found.recall


class EdgeSample(NamedTuple):
    """Edges for sums over the graph: the rows (r,) that they join, and their weights between these (r, r), of sum 1."""

    rows: Tensor
    weight: csr_array


class Edges:
    """Draws neighbors j ~ (1 - debias) p(.|i) + debias / n: unbiased, as the cross-entropy is linear in p.

    The generator is the CPU's wherever the graph is, so that a seed means the same on every device.
    """

    def __init__(self, graph: Sparse, debias: float) -> None:
        self.graph, self.debias = graph, debias
        # Row i of p occupies (i, i + 1) on one cumulative axis: a draw is one bisection.
        within = graph.log_p.exp().double().cumsum(0)
        before = torch.cat([within.new_zeros(1), within])[graph.indptr[:-1]]
        self._cumulative = within - before[graph.anchor] + graph.anchor

    def anchors(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Any rows, each as likely."""
        drawn = torch.randint(self.graph.n, shape, generator=generator, device=generator.device)
        return drawn.to(self.graph.columns.device)

    def neighbors(self, anchor: Tensor, generator: torch.Generator) -> Tensor:
        """One neighbor for each anchor, of any shape."""

        def uniform(dtype: torch.dtype) -> Tensor:
            drawn = torch.rand(anchor.shape, generator=generator, dtype=dtype, device=generator.device)
            return drawn.to(anchor.device)

        at = anchor + uniform(torch.float64)
        edge = torch.searchsorted(self._cumulative, at.reshape(-1)).reshape(anchor.shape)
        # The last cumulative value of a row may round to just below i + 1.
        edge = torch.minimum(edge, self.graph.indptr[anchor + 1] - 1)
        column = self.graph.columns[edge]
        if self.debias == 0:
            return column
        anywhere = self.anchors(tuple(anchor.shape), generator)
        return torch.where(uniform(torch.float32) < self.debias, anywhere, column)

    def listed(self, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """All edges (anchor, column, weight / n); that many drawn ones where there are more, or p is debiased."""
        graph = self.graph
        if self.debias == 0 and len(graph.columns) <= most:
            return graph.anchor, graph.columns, graph.log_p.exp() / graph.n
        anchor = self.anchors((most,), generator)
        return anchor, self.neighbors(anchor, generator), graph.log_p.new_full((most,), 1 / most)

    def sample(self, most: int, generator: torch.Generator) -> EdgeSample:
        """The edges of p as it was before it was debiased, between the rows that occur."""
        anchor, column, weight = Edges(self.graph, 0.0).listed(most, generator)
        rows, place = torch.unique(torch.cat([anchor, column]), return_inverse=True)
        start, end = place.cpu().numpy().reshape(2, -1)
        return EdgeSample(rows, csr_array((weight.cpu().numpy(), (start, end)), shape=(len(rows), len(rows))))
