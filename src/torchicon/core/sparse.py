"""Sparse rows: kNN graphs, positive pairs, classes, labels. CSR, so that memory follows the edges."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.compiled import later
from torchicon.core.members import Members
from torchicon.core.numerics import at_least_float32, log_normalize, safe_log, segment_logsumexp
from torchicon.core.rows import Rows, Support, check_own


@final
class Sparse(Rows):
    """Rows stored as compressed sparse rows of log-weights, normalized here.

    Args:
        indptr: (n + 1,) where each row's edges start.
        columns: (e,) column of each edge, without repeats in a row.
        log_weight: (e,) unnormalized log-weights, nats; gradients flow into it. Omitted: uniform rows.
        candidates: the columns. An edge from an anchor to its own column is refused when they exclude self.
        log_mass: (n,) log-share of each anchor in a jointly normalized p; uniform when omitted.
        own_candidates: an anchor's edges, those without mass too, are all the candidates that it has, as in a ball of a
            memory bank; else it may pick any of ``candidates``. `debias` spreads over them.

    >>> Sparse(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1]), candidates=Candidates.all(2)).dense()
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """

    def __init__(
        self,
        indptr: Tensor,
        columns: Tensor,
        log_weight: Tensor | None = None,
        *,
        candidates: Candidates,
        log_mass: Tensor | None = None,
        own_candidates: bool = False,
    ) -> None:
        self.candidates, self.own_candidates = candidates, own_candidates
        self.indptr, self.columns, self._log_mass = indptr.long(), columns.long(), log_mass
        self.members: Members | None = None
        self._uniform = log_weight is None
        if log_weight is None:  # in float64, so that log(1/k) is exact enough for any q; routes cast it to q's type
            log_weight = torch.zeros(len(columns), dtype=torch.float64, device=columns.device)
        self.log_p = at_least_float32(log_weight)
        if not torch.compiler.is_compiling():
            self.settle()

    def settle(self) -> Sparse:
        """Check, sort and normalize the edges, once."""
        if self.members is not None or hasattr(self, "counts"):
            return self
        first, last = int(self.indptr[0]), int(self.indptr[-1])
        if first != 0 or not len(self.columns) == len(self.log_p) == last:
            raise ValueError(
                f"indptr runs from {first} to {last}, but there are {len(self.columns)} columns "
                f"and {len(self.log_p)} weights."
            )
        check_own(self.n, self.candidates)
        self.counts = self.indptr.diff()
        self.anchor = torch.repeat_interleave(torch.arange(self.n, device=self.columns.device), self.counts)
        # Edges in order of column within their row: log_at finds them by bisection.
        self._key, order = torch.sort(self.anchor * self.candidates.size + self.columns)
        self.columns = self.columns[order]
        self._check_edges()
        if self._uniform:
            self.log_p = -self.counts.double().log()[self.anchor]
            return self
        log_weight = self.log_p[order]
        log_total = segment_logsumexp(log_weight, self.anchor, self.n)
        # A row whose every weight is zero is empty: -inf - (-inf) would be NaN.
        self.log_p = log_weight - torch.where(log_total == -math.inf, 0.0, log_total)[self.anchor]
        return self

    def _check_edges(self) -> None:
        columns, m = self.columns, self.candidates.size
        if len(columns) == 0:
            return
        if int(columns.min()) < 0 or int(columns.max()) >= m:
            raise ValueError(f"Columns must lie in [0, {m}), got {int(columns.min())} to {int(columns.max())}.")
        repeated = self._key[1:] == self._key[:-1]
        if repeated.any():
            e = int(repeated.nonzero()[0])
            raise ValueError(f"Row {int(self.anchor[e])} lists column {int(columns[e])} twice; add the weights.")
        own = columns == self.anchor + (self.candidates.first or 0)
        if self.candidates.excludes_self and own.any():
            i = int(self.anchor[own][0])
            raise ValueError(f"Row {i} has mass on itself, but the candidates are {self.candidates}.")

    @classmethod
    def from_members(cls, members: Members, *, candidates: Candidates) -> Sparse:
        """Uniform rows over an anchor's members; their edges are listed when someone first asks for them."""
        rows = cls.__new__(cls)
        rows.candidates, rows.own_candidates, rows.members, rows._log_mass = candidates, False, members, None
        rows._uniform, rows.counts = True, members.counts
        rows.indptr = torch.cat([rows.counts.new_zeros(1), rows.counts.cumsum(0)])
        check_own(rows.n, candidates)
        return rows

    def __getattr__(self, name: str) -> Any:
        """The edges of members, when they are first asked for."""
        if name not in ("columns", "log_p", "anchor", "_key") or vars(self).get("members") is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        listed = Sparse(self.indptr, vars(self)["members"].columns(), candidates=self.candidates)
        vars(self).update(columns=listed.columns, log_p=listed.log_p, anchor=listed.anchor, _key=listed._key)
        return vars(self)[name]

    @classmethod
    def from_neighbors(cls, columns: Tensor, log_weight: Tensor | None = None, *, candidates: Candidates) -> Sparse:
        """Rows with k neighbors each, from (n, k) columns and log-weights (uniform when omitted)."""
        n, k = columns.shape
        indptr = torch.arange(n + 1, device=columns.device) * k
        flat = None if log_weight is None else log_weight.reshape(-1)
        return cls(indptr, columns.reshape(-1), flat, candidates=candidates)

    @classmethod
    @later(lambda cls, anchor, column, weight=None, *, n, candidates: (n, candidates, _weights(anchor, weight).dtype))
    def from_edges(
        cls, anchor: Tensor, column: Tensor, weight: Tensor | None = None, *, n: int, candidates: Candidates
    ) -> Sparse:
        """Rows from (e,) edges in any order; the nonnegative weights of repeated edges add up.

        Raises:
            ValueError: an anchor outside [0, n), a column outside the candidates, or a negative weight.
        """
        weight = _weights(anchor, weight)
        # An index out of range would name a cell of another row.
        wrong = (anchor < 0) | (anchor >= n) | (column < 0) | (column >= candidates.size) | (weight < 0)
        if wrong.any():
            e = int(wrong.nonzero()[0])
            raise ValueError(
                f"Edges need anchors in [0, {n}), columns in [0, {candidates.size}) and weights of at least 0, "
                f"got {int(anchor[e])}, {int(column[e])} and {float(weight[e]):.3g} at edge {e}."
            )
        key, edge = torch.unique(anchor.long() * candidates.size + column.long(), return_inverse=True)
        total = weight.new_zeros(len(key)).index_add(0, edge, weight)
        counts = torch.bincount(key // candidates.size, minlength=n)
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(indptr, key % candidates.size, safe_log(total), candidates=candidates)

    @later(lambda self, index: (len(index), self.candidates.restrict(index), self.dtype))
    def restrict(self, index: Tensor) -> Sparse:
        """Rows and columns ``index`` (b,) of a square graph, renormalized: p within a batch (theory 1).

        Raises:
            ValueError: the graph is not square, or a point is listed twice.
        """
        if self.n != self.m:
            raise ValueError(f"Only a square graph has a batch of points, got {self.n} anchors and {self.m} columns.")
        place = torch.full((self.m,), -1, dtype=torch.long, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        if len(index) and int(place.max()) >= int((place >= 0).sum()):
            raise ValueError("A batch lists every point once, but the index has repeats.")
        counts = self.counts[index]
        row = torch.repeat_interleave(torch.arange(len(index), device=index.device), counts)
        first = self.indptr[index] - torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])
        edge = torch.arange(len(row), device=index.device) + first[row]
        column = place[self.columns[edge]]
        kept = column >= 0
        indptr = torch.cat([counts.new_zeros(1), torch.bincount(row[kept], minlength=len(index)).cumsum(0)])
        log_p, candidates = self.log_p[edge[kept]], self.candidates.restrict(index)
        if self._log_mass is None:
            return Sparse(indptr, column[kept], log_p, candidates=candidates, own_candidates=self.own_candidates)
        # An anchor's share of the batch is what its neighbors in the batch hold.
        log_share = self._log_mass[index] + segment_logsumexp(log_p, row[kept], len(index))
        log_mass = log_normalize(log_share[None])[0]
        return Sparse(indptr, column[kept], log_p, candidates=candidates, log_mass=log_mass)

    @property
    def n(self) -> int:
        """Number of anchors."""
        return len(self.indptr) - 1

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the log-probabilities."""
        return torch.float64 if self._uniform else self.log_p.dtype

    def width(self) -> int:
        """The most edges that one row has."""
        return int(self.counts.max()) if len(self.counts) else 0

    def support(self, rows: slice) -> Support:
        """The edges of these rows, padded to the longest of them."""
        counts, start = self.counts[rows], self.indptr[rows]
        longest = int(counts.max()) if len(counts) else 0
        slot = torch.arange(max(1, longest), device=counts.device)
        real = slot < counts[:, None]
        if not len(self.columns):
            return Support(torch.zeros_like(real, dtype=torch.long), self.log_p.new_full(real.shape, -math.inf))
        edge = torch.where(real, start[:, None] + slot, 0)
        return Support(self.columns[edge] * real, torch.where(real, self.log_p[edge], -math.inf))

    @torch.no_grad()
    def empty_anchors(self) -> Tensor:
        """Those without an edge that has mass."""
        if self._uniform:
            return self.counts == 0
        empty = torch.ones(self.n, dtype=torch.bool, device=self.anchor.device)
        return empty.index_fill(0, self.anchor[self.log_p != -math.inf], False)

    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Log-probabilities by bisection in the sorted edges; -inf where there is no edge."""
        if columns is None:
            first, last = int(self.indptr[rows.start]), int(self.indptr[rows.stop])
            block = self.log_p.new_full((rows.stop - rows.start, self.m), -math.inf)
            where = (self.anchor[first:last] - rows.start, self.columns[first:last])
            return block.index_put(where, self.log_p[first:last])
        if not len(self.columns):
            return self.log_p.new_full(columns.shape, -math.inf)
        anchor = torch.arange(rows.start, rows.stop, device=columns.device)[:, None]
        key = anchor * self.m + columns
        edge = torch.searchsorted(self._key, key).clamp_(max=len(self._key) - 1)
        return torch.where(self._key[edge] == key, self.log_p[edge], -math.inf)

    def log_mass(self) -> Tensor:
        """The given shares, or uniform ones."""
        return super().log_mass() if self._log_mass is None else self._log_mass

    def work_per_cell(self, *, gathered: bool) -> int:
        """Values, indices and masks of one edge."""
        return 8 if gathered else 2


def _weights(edges: Tensor, weight: Tensor | None) -> Tensor:
    """One each in float64, when omitted."""
    if weight is None:
        return torch.ones(len(edges), dtype=torch.float64, device=edges.device)
    return at_least_float32(weight)
