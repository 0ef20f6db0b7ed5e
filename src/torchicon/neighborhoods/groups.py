"""Neighborhoods that are given: positive pairs, classes, labels, pairs across modalities, the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core import Candidates, Sparse
from torchicon.core.compiled import later
from torchicon.core.members import Members


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

    def __call__(self, groups: Tensor, keys: Tensor | None = None, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from integer groups: an image's number for its views, or a class.

        Args:
            groups: (n,) of the anchors.
            keys: (m,) of the columns, such as a memory bank's, or those of every process; the anchors' when omitted.
            candidates: the columns. Over other ``keys`` an anchor may be one of them where they exclude self or know
                where it is (`Candidates.first`); it is never its own positive.
        """
        m = _count_columns(groups, keys, "groups")
        if candidates is None:
            candidates = Candidates.others(m) if keys is None else Candidates.all(m)
        may_be_own = keys is None or candidates.excludes_self or candidates.first is not None
        return _same_group(groups, keys, candidates, without_own=may_be_own)


@final
@dataclass(frozen=True)
class Classes:
    """Uniform over an anchor's class, itself included: supervised clustering (theory 2.4).

    >>> Classes()(torch.tensor([0, 1, 0])).dense()
    tensor([[0.5000, 0.0000, 0.5000],
            [0.0000, 1.0000, 0.0000],
            [0.5000, 0.0000, 0.5000]], dtype=torch.float64)
    """

    def __call__(self, labels: Tensor, keys: Tensor | None = None, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from (n,) integer labels over columns with the labels ``keys`` (m,), the anchors' when omitted."""
        m = _count_columns(labels, keys, "labels")
        candidates = Candidates.all(m) if candidates is None else candidates
        return _same_group(labels, keys, candidates, without_own=False)


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
        """Rows for n anchors; the candidates are n columns, self included, when omitted.

        Where `Candidates.first` says that anchor 0 is column j, anchor i picks column j + i.
        """
        candidates = Candidates.all(n) if candidates is None else candidates
        own = candidates.own(slice(0, n))
        return Sparse.from_neighbors(torch.arange(own.start, own.stop, device=device)[:, None], candidates=candidates)


def _require_integers(values: Tensor, name: str) -> None:
    if values.ndim != 1 or values.is_floating_point():
        raise ValueError(f"{name} must be (n,) integers, got {values.dtype} of shape {tuple(values.shape)}.")


def _count_columns(groups: Tensor, keys: Tensor | None, name: str) -> int:
    keys = groups if keys is None else keys
    _require_integers(groups, name)
    _require_integers(keys, name)
    return len(keys)


@later(lambda groups, keys, candidates, *, without_own: (len(groups), candidates, torch.float64))
def _same_group(groups: Tensor, keys: Tensor | None, candidates: Candidates, *, without_own: bool) -> Sparse:
    """Uniform over the columns of an anchor's group."""
    keys = groups if keys is None else keys
    if candidates.size != len(keys):
        raise ValueError(
            f"The candidates are {candidates}, but groups were given for {len(keys)} columns: give those of all as "
            "keys."
        )
    group = groups.long()
    of_key = group if keys is groups else keys.long()
    own = (candidates.first or 0) if without_own else None
    return Sparse.from_members(Members(group, of_key, own), candidates=candidates)
