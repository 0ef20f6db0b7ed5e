"""Groups of anchors and columns: uniform rows that are known before their edges are listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

_FEWEST_PAIRS = 2**16  # fewer are listed: one gather of them all is faster than a block for each group
_PAIRS_OF_A_GROUP = 2**12  # fewer make poor matrix products


@dataclass(frozen=True)
class Members:
    """Who shares a group with whom; memory follows the points.

    Args:
        group: (n,) integer group of each anchor.
        of_key: (m,) of each column; the very tensor ``group`` where the columns are the anchors.
        own: the column that anchor 0 is, and anchor i is i further, where anchors are no members for themselves.
    """

    group: Int[Tensor, " n"]
    of_key: Int[Tensor, " m"]
    own: int | None

    @cached_property
    def _sorted_keys(self) -> tuple[Tensor, Tensor, Tensor]:
        """Columns in order of group, and where each anchor's group begins and ends among them."""
        ordered, columns = torch.sort(self.of_key, stable=True)
        return columns, torch.searchsorted(ordered, self.group), torch.searchsorted(ordered, self.group, right=True)

    @cached_property
    def counts(self) -> Tensor:
        """Members (n,) for each anchor."""
        _, first, last = self._sorted_keys
        size = last - first
        return size if self.own is None else size - (self.of_key[self.own : self.own + len(size)] == self.group).long()

    @cached_property
    def many(self) -> bool:
        """Whether blocks of the groups are better than a list of all edges."""
        pairs = int(self.counts.sum())
        return pairs >= _FEWEST_PAIRS and pairs >= _PAIRS_OF_A_GROUP * len(torch.unique(self.group))

    def columns(self) -> Tensor:
        """Columns (e,) of all edges, anchor by anchor, each anchor's in order."""
        columns, first, last = self._sorted_keys
        size = last - first
        anchor = torch.repeat_interleave(torch.arange(len(size), device=size.device), size)
        before = first - (size.cumsum(0) - size)  # what turns an edge's number into its member's
        column = columns[before[anchor] + torch.arange(len(anchor), device=size.device)]
        return column if self.own is None else column[column != anchor + self.own]

    def groups(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each group: its anchors (a,) that have members, and its columns (b,)."""
        columns, first, last = self._sorted_keys
        order = torch.argsort(self.group, stable=True)
        order = order[self.counts[order] > 0]
        sizes = torch.unique_consecutive(self.group[order], return_counts=True)[1]
        for anchors in torch.split(order, sizes.tolist()):
            yield anchors, columns[int(first[anchors[0]]) : int(last[anchors[0]])]
