"""The harmonic neighborhood: a power of the distance, without any unit of length."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchicon.core import Radial
from torchicon.core.score import pull_back_through
from torchicon.neighborhoods.recipe import KernelRecipe, require_positive


@final
class Harmonic(Radial, KernelRecipe):
    r"""Logit $-\frac n2 \log d$ at squared distance d: weights $\|a_i - b_j\|^{-n}$ (theory 1; Baek et al. 2025).

    Rows stay the same when all points are scaled. For n > 1 it is what a Student-t with n - 1 degrees of freedom
    becomes as its scale s goes to 0, up to O(s^2).

    A candidate on the very place of its anchor takes all the mass; several share it. There the distance has no
    direction, so such a pair has no gradient; and its logit is large but finite, since d counts as the smallest normal
    number where it is smaller (distances below 1.5e-154, or 1.1e-19 in float32). Distances are summed from
    differences, since the logarithm of an expanded square would be noise near 0. That costs several times a matrix
    product.

    Args:
        exponent: n > 0, of the distance; of its square, the exponent is n / 2, as in the authors' code.

    >>> Harmonic(2.0)(torch.tensor([[0.0], [1.0], [3.0]])).dense().round(decimals=4)
    tensor([[0.0000, 0.9000, 0.1000],
            [0.8000, 0.0000, 0.2000],
            [0.3077, 0.6923, 0.0000]])
    """

    def __init__(self, exponent: float) -> None:
        require_positive("exponent", exponent)
        self.exponent = float(exponent)

    def log_kernel(self, sq_dist: Tensor) -> Tensor:
        """Minus half the exponent times the logarithm, which is finite."""
        return sq_dist.clamp_min(torch.finfo(sq_dist.dtype).tiny).log() * (-self.exponent / 2)

    def slope(self, sq_dist: Tensor) -> Tensor:
        """Infinite towards distance 0, and 0 there."""
        tiny = torch.finfo(sq_dist.dtype).tiny
        return torch.where(sq_dist < tiny, 0.0, (-self.exponent / 2) / sq_dist.clamp_min(tiny))

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """From differences."""
        return self.log_kernel(torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square())

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """From differences too."""
        return pull_back_through(self, a, b, weight)
