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
    `ids` where both know theirs.
    `excludes_self` is not part of that identity, since it says which *cells* of those columns exist: with it,
    anchor i may not pick column i, and M = size - 1 candidates are left (theory 1, "self rule").

    Args:
        size: number of columns m.
        name: what they are ("points", "texts", "prototypes"); keeps two modalities of one size apart.
        excludes_self: anchor i has no column i.
        ids: (size,) which members of a larger set the columns are, for a batch or a memory bank.

    >>> Candidates.others(4)
    Candidates(4 points, self excluded)
    >>> Candidates.others(4).per_anchor
    3
    """

    size: int
    name: str = "points"
    excludes_self: bool = False
    ids: Tensor | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise CandidatesError(f"A neighborhood needs at least one candidate, got {self.size}.")
        if self.excludes_self and self.size < 2:
            raise CandidatesError("With self excluded one candidate is no candidate: give at least two points.")
        if self.ids is not None and self.ids.shape != (self.size,):
            raise CandidatesError(f"ids must have shape ({self.size},), got {tuple(self.ids.shape)}.")

    @classmethod
    def all(cls, size: int, name: str = "points") -> Candidates:
        """Every column, self included."""
        return cls(size, name)

    @classmethod
    def others(cls, size: int, name: str = "points") -> Candidates:
        """The anchors themselves, each without itself."""
        return cls(size, name, excludes_self=True)

    @property
    def per_anchor(self) -> int:
        """The number M of candidates that one anchor has."""
        return self.size - self.excludes_self

    def restrict(self, index: Tensor) -> Candidates:
        """The columns ``index`` of these, as for a batch; remembers which they are."""
        return replace(self, size=len(index), ids=index if self.ids is None else self.ids[index])

    def same_columns(self, other: Candidates) -> bool:
        """Whether both range over the same columns."""
        if (self.name, self.size) != (other.name, other.size):
            return False
        if self.ids is None or other.ids is None:  # a kernel made from a batch does not know where it was drawn
            return True
        return self.ids is other.ids or torch.equal(self.ids, other.ids)

    def __repr__(self) -> str:
        """Size, name and restrictions in words, for error messages."""
        restricted = ", a subset" if self.ids is not None else ""
        return f"Candidates({self.size} {self.name}{', self excluded' if self.excludes_self else ''}{restricted})"
