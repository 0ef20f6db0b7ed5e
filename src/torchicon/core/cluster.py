"""Cluster rows: neighbors are picked by way of a cluster, so the matrix has rank c."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.numerics import at_least_float32, safe_log
from torchicon.core.rows import Rows, Support


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

    def empty(self, rows: slice) -> Tensor:
        """Anchors without any cluster that has a member among the candidates."""
        return ((self.left[rows] == 0) | (self.right == 0).all(0)).all(-1)

    def work_per_cell(self, *, gathered: bool) -> int:
        """A gathered cell holds its candidate's c numbers."""
        return 2 * self.left.shape[1] + 4 if gathered else 4
