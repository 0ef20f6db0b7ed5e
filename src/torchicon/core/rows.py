"""Rows: a lazy row-stochastic matrix, the only thing the equation needs to know."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.errors import CandidatesError
from torchicon.core.numerics import log_normalize, map_row_blocks


class Support(NamedTuple):
    """Where a block of b rows has mass.

    columns: (b, s) column indices, or None when the s = m columns stand in order.
    log_p: (b, s) log-probabilities; -inf marks padding and cells without mass.
    """

    columns: Tensor | None
    log_p: Tensor


class Rows(ABC):
    """A conditional distribution over candidates for each of n anchors: an n x m matrix whose rows sum to 1.

    A row may be empty (an anchor without any neighbor); the divergences give it 0 and `objective` drops it.
    A structure implements `support`, `log_at` and `work_per_cell`; everything else follows. The six structures are
    final: wrap them, do not subclass them.
    """

    candidates: Candidates

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of anchors."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Floating type of the log-probabilities."""

    @abstractmethod
    def support(self, rows: slice) -> Support:
        """Columns and log-probabilities of the cells of these rows that may have mass."""

    @abstractmethod
    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Log-probabilities of these rows at ``columns`` (b, s), or at all m columns in order for None.

        -inf where there is no mass. Differentiable in whatever the rows were made from.
        """

    @abstractmethod
    def work_per_cell(self, *, gathered: bool) -> int:
        """Numbers kept alive while one cell is evaluated (gathered: columns given), for sizing blocks."""

    def prepare(self) -> None:  # noqa: B027 - only structures with something to share between blocks override it
        """Compute what all blocks of rows share, once, before they are visited."""

    def settle(self) -> Rows:
        """These rows, with all done that must look at data; inside ``torch.compile`` that waits for a divergence."""
        return self

    def empty(self, rows: slice) -> Tensor:
        """Which of these rows have no mass at all, (b,) booleans."""
        return (self.support(rows).log_p == -math.inf).all(-1)

    @torch.no_grad()
    def empty_anchors(self) -> Tensor:
        """Which of all anchors have no mass, (n,) booleans."""
        self.prepare()
        per_row = self.bytes_per_row(self.width(), gathered=self.width() < self.m)
        return map_row_blocks(self.empty, self.n, per_row)

    def width(self) -> int:
        """The largest number of cells that the support of one row lists."""
        return self.m

    @property
    def m(self) -> int:
        """Number of columns."""
        return self.candidates.size

    def log_mass(self) -> Tensor:
        r"""Share of each anchor, (n,), when all cells are normalized together: log r_i with sum_i r_i = 1.

        Uniform over the anchors that have a neighbor unless the structure knows better (theory 1, joint against row
        t-SNE); -inf for an empty row.
        """
        empty = self.empty_anchors()
        share = torch.zeros(self.n, dtype=self.dtype, device=empty.device).masked_fill(empty, -math.inf)
        return log_normalize(share[None])[0]

    def mean_log(self, over: Candidates) -> Tensor:
        """Mean over the M candidates ``over`` of an anchor's log-probabilities, (n,): -CE(uniform over them, self)."""
        self.prepare()

        def block(rows: slice) -> Tensor:
            log_q = self.log_at(None, rows)
            own = own_columns(rows, log_q.shape, over, device=log_q.device)
            return torch.where(own, 0.0, log_q).sum(-1) / over.per_anchor

        return map_row_blocks(block, self.n, self.bytes_per_row(self.m, gathered=False))

    def dense(self) -> Tensor:
        """All probabilities as an (n, m) tensor. For small problems and tests: it is the n x m matrix."""
        return self.log_at(None, slice(0, self.n)).exp()

    def bytes_per_row(self, cells: int, *, gathered: bool) -> int:
        """Bytes alive while ``cells`` cells of one row are evaluated."""
        return cells * self.work_per_cell(gathered=gathered) * self.dtype.itemsize

    def __repr__(self) -> str:
        """Structure and size."""
        return f"{type(self).__name__}({self.n} anchors, {self.candidates})"


def own_columns(
    rows: slice, shape: torch.Size, candidates: Candidates, *, device: torch.device, columns: Tensor | None = None
) -> Tensor:
    """Boolean mask, broadcastable to ``shape`` (b, s), of the cells that self-exclusion removes."""
    if not candidates.excludes_self:
        return torch.zeros((1, 1), dtype=torch.bool, device=device)
    if columns is None:
        columns = torch.arange(shape[-1], device=device)
    own = candidates.own(rows)
    return columns == torch.arange(own.start, own.stop, device=device)[:, None]


def check_own(n: int, candidates: Candidates) -> None:
    """Self can be excluded only where each of n anchors is known to be a column."""
    if candidates.first is not None:
        if candidates.first + n > candidates.size:
            raise CandidatesError(f"The anchors must be columns themselves, got {n} anchors and {candidates}.")
    elif candidates.excludes_self and n != candidates.size:
        raise CandidatesError(
            f"Self can only be excluded when the anchors are the candidates, got {n} anchors and {candidates}. "
            "Pass candidates=Candidates.all(m) for another set of columns, or Candidates.others(m, first=j) when the "
            "anchors are the columns from j on."
        )


def check_comparable(p: Rows, q: Rows) -> None:
    """Refuse what is no neighborhood, and two that are not over the same anchors and columns."""
    for name, rows in (("p", p), ("q", q)):
        if not isinstance(rows, Rows):
            raise TypeError(
                f"{name} must be a neighborhood (Rows), got {type(rows).__name__}: make one from points, such as "
                "Gaussian()(x), KNN(10)(x) or Dense.from_weights(w)."
            )
    if p.n != q.n:
        raise CandidatesError(f"p has {p.n} anchors and q has {q.n}; row i of both must be the same anchor.")
    if not p.candidates.same_columns(q.candidates):
        raise CandidatesError(
            f"p ranges over {p.candidates}, q over {q.candidates}: a divergence needs the same columns. "
            "Share one Candidates object."
        )
