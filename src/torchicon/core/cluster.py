"""Cluster rows: neighbors are picked by way of a cluster, so the matrix has rank c."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.low_rank import edge_products, pairs_tiling, sum_log_products
from torchicon.core.numerics import at_least_float32, safe_log
from torchicon.core.rows import Rows, Support, check_own
from torchicon.core.streaming import Tiling


@final
class Cluster(Rows):
    r"""Rows $q_{j|i} = \sum_c l_{ic} r_{jc}$ of low rank c, never formed: two (n, c) factors are all that is stored.

    Made by `torchicon.Clusters`, which knows the normalizations of the papers. Self is a candidate: masking the
    diagonal without renormalizing would not leave a distribution (theory 1).

    Args:
        left: (n, c) nonnegative, each anchor's probability of each cluster.
        right: (m, c) nonnegative, each cluster's distribution over candidates, scaled so that rows sum to 1.
        candidates: the columns; all m when omitted.
    """

    def __init__(self, left: Tensor, right: Tensor, candidates: Candidates | None = None) -> None:
        self.left, self.right = at_least_float32(left), at_least_float32(right)
        self.candidates = Candidates.all(len(right)) if candidates is None else candidates
        if self.candidates.excludes_self:
            raise ValueError("Cluster rows include self (theory 1): pass candidates=Candidates.all(m).")
        if self.candidates.size != len(right) or left.shape[1] != right.shape[1]:
            raise ValueError(
                f"left {tuple(left.shape)} and right {tuple(right.shape)} must share their clusters, and right "
                f"must have a row for each of {self.candidates}."
            )

    @property
    def n(self) -> int:
        """Number of anchors."""
        return len(self.left)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the probabilities."""
        return self.left.dtype

    def support(self, rows: slice) -> Support:
        """All columns of these rows."""
        return Support(None, self.log_at(None, rows))

    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Log of the factors' product; O(c) a cell."""
        with torch.autocast(self.left.device.type, enabled=False):
            if columns is None:
                return safe_log(self.left[rows] @ self.right.T)
            return safe_log(torch.einsum("nc,nsc->ns", self.left[rows], self.right[columns]))

    def log_at_edges(self, indptr: Tensor, columns: Tensor, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        """Log of scale q + shift, (e,), at the edges of a graph on these anchors; O(c) an edge, -inf in empty rows."""
        values = edge_products(self.left, self.right, indptr, columns) * scale
        if shift:
            anchor = torch.repeat_interleave(torch.arange(self.n, device=columns.device), indptr.diff())
            values = torch.where(self.empty(slice(0, self.n))[anchor], 0.0, values + shift)
        return safe_log(values)

    def tiling(self) -> Tiling:
        """How all pairs are visited: half of them where q is symmetric."""
        return pairs_tiling(self.left, self.m, symmetric=self._sizes() is not None)

    def _sizes(self) -> Tensor | None:
        """Expected sizes (c,) where right is left over its column sums, so that q is its own transpose."""
        left, right = self.left.detach(), self.right.detach()
        if left.shape != right.shape:
            return None
        sizes = left.sum(0)
        return sizes if torch.equal(right, left / torch.where(sizes == 0, 1.0, sizes)) else None

    def mean_log_mixed(self, over: Candidates, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        """Mean over the candidates ``over`` of log (scale q + shift), (n,), in tiles; -inf for an empty row."""
        check_own(self.n, over)
        own = (over.first or 0) if over.excludes_self else None
        sizes = self._sizes()
        tiling = pairs_tiling(self.left, self.m, symmetric=sizes is not None)
        total = sum_log_products(self.left, self.right, tiling, scale=scale, shift=shift, own=own, sizes=sizes)
        return torch.where(self.empty(slice(0, self.n)), -math.inf, total / over.per_anchor)

    def mean_log(self, over: Candidates) -> Tensor:
        """As ever, in tiles."""
        return self.mean_log_mixed(over)

    def empty(self, rows: slice) -> Tensor:
        """Anchors without any cluster that has a member among the candidates."""
        return (self.left.detach()[rows] * (self.right.detach().sum(0) != 0)).sum(1) == 0

    def work_per_cell(self, *, gathered: bool) -> int:
        """A gathered cell holds its candidate's c numbers."""
        return 2 * self.left.shape[1] + 4 if gathered else 4
