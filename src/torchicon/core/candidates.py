"""The identity of the columns: which things an anchor may pick as its neighbor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchicon.core.errors import CandidatesError


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the columns of a neighborhood are.

    Two neighborhoods can be compared when they range over the same columns: equal `name` and `size`, and equal
    `ids` where both know theirs. The anchors may themselves be columns, all of them or some: the points of one process
    among those of all. Then anchor i is column `first` + i, of both neighborhoods.
    `excludes_self` is not part of that identity, since it says which *cells* of those columns exist: with it,
    an anchor may not pick its own column, and M = size - 1 candidates are left (theory 1, "self rule").

    Args:
        size: number of columns m.
        name: what they are ("points", "texts", "prototypes"); keeps two modalities of one size apart.
        excludes_self: an anchor does not have its own column.
        ids: (size,) which members of a larger set the columns are, for a batch or a memory bank.
        first: the column that anchor 0 is, when the anchors are a run of the columns. Omitted, self can be excluded
            only where there are as many anchors as columns.

    >>> Candidates.others(4)
    Candidates(4 points, self excluded)
    >>> Candidates.others(4).per_anchor
    3
    >>> Candidates.others(4, first=1).own(slice(0, 2))
    slice(1, 3, None)
    """

    size: int
    name: str = "points"
    excludes_self: bool = False
    ids: Tensor | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise CandidatesError(f"A neighborhood needs at least one candidate, got {self.size}.")
        if self.excludes_self and self.size < 2:
            raise CandidatesError("With self excluded one candidate is no candidate: give at least two points.")
        if self.ids is not None and self.ids.shape != (self.size,):
            raise CandidatesError(f"ids must have shape ({self.size},), got {tuple(self.ids.shape)}.")
        if self.first is not None and not 0 <= self.first <= self.size:
            raise CandidatesError(
                f"first must be one of {self.size} columns, or after them for no anchors, got {self.first}."
            )

    @classmethod
    def all(cls, size: int, name: str = "points", *, first: int | None = None) -> Candidates:
        """Every column, self included."""
        return cls(size, name, first=first)

    @classmethod
    def others(cls, size: int, name: str = "points", *, first: int | None = None) -> Candidates:
        """Every column but the anchor's own, which is column i, or ``first`` + i."""
        return cls(size, name, excludes_self=True, first=first)

    @property
    def per_anchor(self) -> int:
        """The number M of candidates that one anchor has."""
        return self.size - self.excludes_self

    def own(self, rows: slice) -> slice:
        """The columns that the anchors ``rows`` themselves are."""
        first = self.first or 0
        return slice(first + rows.start, first + rows.stop)

    def restrict(self, index: Tensor) -> Candidates:
        """The columns ``index`` of these, as for a batch; remembers which they are."""
        return replace(self, size=len(index), ids=index if self.ids is None else self.ids[index], first=None)

    def same_columns(self, other: Candidates) -> bool:
        """Whether both range over the same columns, with the anchors at the same place among them."""
        if (self.name, self.size) != (other.name, other.size):
            return False
        if None not in (self.first, other.first) and self.first != other.first:
            return False
        if self.ids is None or other.ids is None:  # a kernel made from a batch does not know where it was drawn
            return True
        return self.ids is other.ids or torch.equal(self.ids, other.ids)

    def __repr__(self) -> str:
        """Size, name and restrictions in words, for error messages."""
        place = f", anchor 0 is column {self.first}" if self.first is not None else ""
        restricted = ", a subset" if self.ids is not None else ""
        excluded = ", self excluded" if self.excludes_self else ""
        return f"Candidates({self.size} {self.name}{excluded}{place}{restricted})"
