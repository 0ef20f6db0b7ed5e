"""Neighborhoods that are given: positive pairs, classes, labels, pairs across modalities, the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core import Candidates, Sparse


@final
@dataclass(frozen=True)
class Positives:
    """Uniform over the other members of an anchor's group: views of one image (SimCLR), one class (SupCon).

    An anchor that is alone in its group has an empty row.

    >>> Positives()(torch.tensor([7, 8, 7, 9])).dense()
    tensor([[0., 0., 1., 0.],
            [0., 0., 0., 0.],
            [1., 0., 0., 0.],
            [0., 0., 0., 0.]], dtype=torch.float64)
    """

    def __call__(self, groups: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from (n,) integer groups: an image's number for its views, or a class."""
        anchor, column = _same_group(groups, "groups")
        other = anchor != column
        candidates = Candidates.others(len(groups)) if candidates is None else candidates
        return _from_sorted(anchor[other], column[other], len(groups), candidates)


@final
@dataclass(frozen=True)
class Classes:
    """Uniform over an anchor's class, itself included: supervised clustering (theory 2.4).

    >>> Classes()(torch.tensor([0, 1, 0])).dense()
    tensor([[0.5000, 0.0000, 0.5000],
            [0.0000, 1.0000, 0.0000],
            [0.5000, 0.0000, 0.5000]], dtype=torch.float64)
    """

    def __call__(self, labels: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from (n,) integer labels."""
        anchor, column = _same_group(labels, "labels")
        candidates = Candidates.all(len(labels)) if candidates is None else candidates
        return _from_sorted(anchor, column, len(labels), candidates)


@final
@dataclass(frozen=True)
class Labels:
    """One-hot on the anchor's class, the candidates being the classes: cross-entropy (theory 2.3).

    Args:
        n_classes: number of columns.

    >>> Labels(3)(torch.tensor([2, 0])).dense()
    tensor([[0., 0., 1.],
            [1., 0., 0.]], dtype=torch.float64)
    """

    n_classes: int

    def __call__(self, labels: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from (n,) integer labels in [0, n_classes)."""
        _require_integers(labels, "labels")
        candidates = Candidates.all(self.n_classes) if candidates is None else candidates
        return Sparse.from_neighbors(labels[:, None], candidates=candidates)


@final
@dataclass(frozen=True)
class Pairs:
    """Row i picks column i: own caption (CLIP), own other view over a bank, or itself (the identity of PCA).

    >>> Pairs()(2).dense()
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """

    def __call__(self, n: int, *, candidates: Candidates | None = None, device: torch.device | None = None) -> Sparse:
        """Rows for n anchors; the candidates are n columns, self included, when omitted."""
        candidates = Candidates.all(n) if candidates is None else candidates
        return Sparse.from_neighbors(torch.arange(n, device=device)[:, None], candidates=candidates)


def _require_integers(values: Tensor, name: str) -> None:
    if values.ndim != 1 or values.is_floating_point():
        raise ValueError(f"{name} must be (n,) integers, got {values.dtype} of shape {tuple(values.shape)}.")


def _same_group(groups: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """All (anchor, column) pairs of one group, self included, in order of anchor; memory follows the pairs."""
    _require_integers(groups, name)
    _, group, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    members = torch.argsort(group, stable=True)
    first = (counts.cumsum(0) - counts)[group]
    size = counts[group]
    anchor = torch.repeat_interleave(torch.arange(len(groups), device=groups.device), size)
    slot = torch.arange(len(anchor), device=groups.device) - torch.repeat_interleave(size.cumsum(0) - size, size)
    return anchor, members[torch.repeat_interleave(first, size) + slot]


def _from_sorted(anchor: Tensor, column: Tensor, n: int, candidates: Candidates) -> Sparse:
    counts = torch.bincount(anchor, minlength=n)
    return Sparse(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), column, candidates=candidates)
