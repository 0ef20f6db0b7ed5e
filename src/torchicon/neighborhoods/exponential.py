"""Exponential neighborhoods of Kernel-InfoNCE: powers of the distance, from heavy tails to the Gaussian."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchicon.core import Radial
from torchicon.core.score import FusedForm, mean_sq_dist, pull_back_through
from torchicon.neighborhoods.recipe import KernelRecipe, require_positive


@final
class Exponential(Radial, KernelRecipe):
    r"""Logit $-\|a_i - b_j\|^\gamma / \tau$ (Tan et al. 2024; theory 1 and 2.6).

    ``gamma=1`` is the Laplacian kernel, ``gamma=2`` the Gaussian of $2\sigma^2 = \tau$; on unit vectors the latter is
    `Cosine` of half the temperature. Below 2 the kernel has a corner at distance 0, where the gradient is taken to be
    0; distances are then summed from differences, since an expanded square would be noise near the corner. That
    costs several times a matrix product.

    Args:
        gamma: exponent of the distance, in (0, 2].
        temperature: tau > 0, in units of the points to the power gamma; a tensor to learn it.

    Raises:
        ValueError: gamma outside (0, 2] or a temperature that is not positive.

    >>> Exponential(1.0)(torch.tensor([[0.0], [1.0], [2.0]])).dense().round(decimals=4)
    tensor([[0.0000, 0.7311, 0.2689],
            [0.5000, 0.0000, 0.5000],
            [0.2689, 0.7311, 0.0000]])
    """

    def __init__(self, gamma: float = 1.0, temperature: float | Tensor = 1.0) -> None:
        require_positive("gamma", gamma)
        require_positive("temperature", temperature)
        if gamma > 2:
            raise ValueError(
                f"gamma must be at most 2, got {gamma}: above it exp(-distance**gamma) is not positive definite "
                "(Schoenberg), so it is the inner product of no features."
            )
        self.gamma, self.temperature = float(gamma), temperature

    def features(self, x: Tensor) -> Tensor:
        """Points in units of tau^(1 / gamma)."""
        require_positive("temperature", self.temperature)  # again: an optimizer may have moved it since
        x = super().features(x)
        return x / torch.as_tensor(self.temperature, dtype=x.dtype, device=x.device) ** (1 / self.gamma)

    def log_kernel(self, sq_dist: Tensor) -> Tensor:
        """Minus the distance to the power gamma."""
        return -sq_dist if self.gamma == 2 else -_power(sq_dist, self.gamma / 2)

    def slope(self, sq_dist: Tensor) -> Tensor:
        """Infinite towards distance 0 for gamma < 2, and 0 there."""
        if self.gamma == 2:
            return torch.full_like(sq_dist, -1.0)
        return _power(sq_dist, self.gamma / 2 - 1) * (-self.gamma / 2)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """From differences unless the kernel is smooth: an error e of a squared distance 0 would become e^(gamma/2)."""
        if self.gamma == 2:
            return super().pairwise(a, b)
        return -_power(torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist"), self.gamma)

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """From differences too."""
        if self.gamma == 2:
            return super().pull_back(a, b, weight)
        return pull_back_through(self, a, b, weight)

    def mean_pairwise(self, a: Tensor, b: Tensor) -> Tensor | None:
        """Minus the mean squared distance; no closed form for gamma < 2."""
        return -mean_sq_dist(a, b) if self.gamma == 2 else None

    def fused_form(self) -> FusedForm | None:
        """Minus the squared distance; below 2 distances have to be summed from differences."""
        return FusedForm("sq_dist", -1.0) if self.gamma == 2 else None


def _power(x: Tensor, exponent: float) -> Tensor:
    """The power of nonnegative numbers; 0 at 0, for any exponent, and in the gradient."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x) ** exponent)
