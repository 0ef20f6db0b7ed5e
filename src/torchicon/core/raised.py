"""Raised rows: the uniform neighborhood, raised along the edges of a graph. For the graph's side of normalized cuts."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.numerics import segment_logsumexp
from torchicon.core.rows import Rows, Support, own_columns
from torchicon.core.sparse import Sparse


@final
class Raised(Rows):
    r"""Rows $p_{j|i} \propto e^{s_{ij}}$ over all candidates, with a score at the edges of a graph and 0 elsewhere.

    Memory follows the edges, although every cell has mass.

    Args:
        anchor: (e,) of each edge, in any order, without repeats of a pair.
        columns: (e,) of each edge.
        scores: (e,) finite; gradients flow into them.
        n: number of anchors.
        candidates: the columns. An edge from an anchor to its own column is refused when they exclude self.

    >>> edge = torch.tensor([0]), torch.tensor([1]), torch.tensor([2.0]).log()
    >>> Raised(*edge, n=2, candidates=Candidates.all(3)).dense()
    tensor([[0.2500, 0.5000, 0.2500],
            [0.3333, 0.3333, 0.3333]])
    """

    def __init__(self, anchor: Tensor, columns: Tensor, scores: Tensor, *, n: int, candidates: Candidates) -> None:
        order = torch.argsort(anchor, stable=True)
        counts = torch.bincount(anchor, minlength=n)
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.candidates = candidates
        self.graph = Sparse(indptr, columns[order], scores[order], candidates=candidates)
        self._log_edges = segment_logsumexp(scores.to(self.dtype), anchor, n)
        others = (candidates.per_anchor - counts).to(self.dtype).log()
        self.log_normalizer = torch.logaddexp(others, self._log_edges)

    @property
    def n(self) -> int:
        """Number of anchors."""
        return self.graph.n

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the scores."""
        return self.graph.dtype

    def scores(self) -> Tensor:
        """The score of each edge of ``graph``, (e,), in its order."""
        return self.graph.log_p + self._log_edges[self.graph.anchor]

    def support(self, rows: slice) -> Support:
        """All columns of these rows."""
        return Support(None, self.log_at(None, rows))

    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """The score at an edge, 0 elsewhere, minus the normalizer."""
        log_edge = self.graph.log_at(columns, rows)
        edge = log_edge != -math.inf
        among_edges = self._log_edges[rows]
        shift = torch.where(among_edges == -math.inf, 0.0, among_edges)[:, None]  # an anchor without edges
        log_p = torch.where(edge, torch.where(edge, log_edge, 0.0) + shift, 0.0) - self.log_normalizer[rows, None]
        own = own_columns(rows, log_p.shape, self.candidates, device=log_p.device, columns=columns)
        return log_p.masked_fill(own, -math.inf)

    def empty(self, rows: slice) -> Tensor:
        """No row is."""
        return torch.zeros(rows.stop - rows.start, dtype=torch.bool, device=self.log_normalizer.device)

    def work_per_cell(self, *, gathered: bool) -> int:
        """What the graph needs, and the two cases."""
        return self.graph.work_per_cell(gathered=gathered) + 4
