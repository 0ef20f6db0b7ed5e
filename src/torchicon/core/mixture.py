"""Mixture rows: a neighborhood debiased by a share of the uniform one (theory 5)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchicon.core.rows import Rows, Support, own_columns


@final
class Mixture(Rows):
    r"""Rows $(1-\alpha)\,p + \alpha / M$ over the M candidates of ``base``; a row that is empty stays empty.

    Args:
        base: the rows to debias.
        alpha: the uniform share, in (0, 1).

    >>> from torchicon.core import Dense
    >>> Mixture(Dense(torch.tensor([[0.0, -math.inf]])), 0.5).dense()
    tensor([[0.7500, 0.2500]])
    """

    def __init__(self, base: Rows, alpha: float) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}.")
        self.base, self.alpha = base, alpha
        self.candidates = base.candidates

    @property
    def log_uniform(self) -> float:
        """Log of what a candidate has from the uniform part."""
        return math.log(self.alpha / self.candidates.per_anchor)

    @property
    def n(self) -> int:
        """Number of anchors."""
        return self.base.n

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the base."""
        return self.base.dtype

    def prepare(self) -> None:
        """Prepare the base."""
        self.base.prepare()

    def support(self, rows: slice) -> Support:
        """All columns of these rows: the uniform part reaches everywhere."""
        return Support(None, self.log_at(None, rows))

    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Log-sum of the two parts; only the base has a gradient."""
        log_base = self.base.log_at(columns, rows)
        mixed = self.mix(log_base)
        own = own_columns(rows, mixed.shape, self.candidates, device=mixed.device, columns=columns)
        return mixed.masked_fill(own | self.base.empty(rows)[:, None], -math.inf)

    def mix(self, log_base: Tensor) -> Tensor:
        """Log-probabilities of the mixture where the base has ``log_base``, of any shape."""
        mass = log_base != -math.inf
        mixed = torch.where(mass, log_base, 0.0) + math.log1p(-self.alpha)
        uniform = torch.full_like(mixed, self.log_uniform)
        return torch.where(mass, torch.logaddexp(mixed, uniform), uniform)

    def empty(self, rows: slice) -> Tensor:
        """Rows that are empty in the base."""
        return self.base.empty(rows)

    def log_mass(self) -> Tensor:
        """The base's shares."""
        return self.base.log_mass()

    def work_per_cell(self, *, gathered: bool) -> int:
        """The base's work, and the two parts of the sum."""
        return self.base.work_per_cell(gathered=gathered) + 4

    def bytes_per_row(self, cells: int, *, gathered: bool) -> int:
        """The base's bytes, and the two parts of the sum."""
        return self.base.bytes_per_row(cells, gathered=gathered) + 4 * cells * self.dtype.itemsize
