"""The kNN graph whose edges say which points belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.core import Candidates, Sparse
from torchicon.neighborhoods import propagate
from torchicon.neighborhoods.nearest import nearest

_POOL = 50  # neighbors among which the k closest by locally scaled distance are kept


def knn_graph(x: Tensor, k: int, *, cosine: bool, walks: int) -> Sparse:
    r"""Uniform rows over the k nearest by locally scaled distance $|x_i - x_j| / \sqrt{s_i s_j}$, then walks.

    s_i is the mean distance to the k nearest (Zelnik-Manor & Perona 2004): it keeps dense regions from becoming
    everyone's neighbor in high dimensions. Self is a candidate but no neighbor.
    """
    if cosine:  # not the search's own cosine: a row at the center has no direction, and is everyone's equal here
        x = torch.nn.functional.normalize(x, dim=1)
    n = len(x)
    pool = min(max(_POOL, k), n - 1)
    found = nearest(x, pool)
    dist = found.value.clamp_min(0).sqrt()
    scale = dist[:, :k].mean(1)
    # The anchor's own scale does not change the order of its neighbors, so only theirs is divided by. Duplicates have
    # scale 0: near to each other, far from all others.
    local = torch.where(dist > 0, dist / scale[found.index].sqrt(), 0.0)
    order = torch.argsort(local, dim=1, stable=True)[:, :k]
    graph = Sparse.from_neighbors(found.index.gather(1, order), candidates=Candidates.all(n))
    return propagate(graph, walks)


class Edges:
    """Draws neighbors j ~ (1 - debias) p(.|i) + debias / n: unbiased, as the cross-entropy is linear in p."""

    def __init__(self, graph: Sparse, debias: float) -> None:
        self.graph, self.debias = graph, debias
        # Row i of p occupies (i, i + 1) on one cumulative axis: a draw is one bisection.
        within = graph.log_p.exp().cumsum(0)
        before = torch.cat([within.new_zeros(1), within])[graph.indptr[:-1]]
        self._cumulative = within - before[graph.anchor] + graph.anchor

    def neighbors(self, anchor: Tensor, generator: torch.Generator) -> Tensor:
        """One neighbor for each anchor, of any shape."""
        at = anchor + torch.rand(anchor.shape, generator=generator, dtype=torch.float64)
        edge = torch.searchsorted(self._cumulative, at.reshape(-1)).reshape(anchor.shape)
        # The last cumulative value of a row may round to just below i + 1.
        edge = torch.minimum(edge, self.graph.indptr[anchor + 1] - 1)
        column = self.graph.columns[edge]
        if self.debias == 0:
            return column
        anywhere = torch.randint(self.graph.m, anchor.shape, generator=generator)
        uniform = torch.rand(anchor.shape, generator=generator) < self.debias
        return torch.where(uniform, anywhere, column)

    def listed(self, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """All edges (anchor, column, weight / n), or that many drawn ones: for sums over the graph."""
        graph = self.graph
        if len(graph.columns) <= most:
            return graph.anchor, graph.columns, graph.log_p.exp().float() / graph.n
        anchor = torch.randint(graph.n, (most,), generator=generator)
        plain = Edges(graph, 0.0) if self.debias else self
        return anchor, plain.neighbors(anchor, generator), torch.full((most,), 1 / most)
