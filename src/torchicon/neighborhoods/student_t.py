"""The Student-t neighborhood of t-SNE: heavy tails leave room for moderate distances."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchicon.core import Radial
from torchicon.core.score import FusedForm
from torchicon.neighborhoods.recipe import KernelRecipe, require_positive


@final
class StudentT(Radial, KernelRecipe):
    r"""Logit $-\frac{\nu+1}{2} \log(1 + d / \nu s^2)$ at squared distance d (theory 1); t-SNE has nu = s = 1.

    Args:
        df: degrees of freedom nu; as it grows the kernel becomes Gaussian with bandwidth ``scale``.
        scale: s, in units of the points; a tensor to learn it.

    >>> StudentT()(torch.tensor([[0.0], [1.0], [2.0]])).dense().round(decimals=4)
    tensor([[0.0000, 0.7143, 0.2857],
            [0.5000, 0.0000, 0.5000],
            [0.2857, 0.7143, 0.0000]])
    """

    def __init__(self, df: float = 1.0, *, scale: float | Tensor = 1.0) -> None:
        require_positive("df", df)
        require_positive("scale", scale)
        self.df, self.scale = float(df), scale

    def features(self, x: Tensor) -> Tensor:
        """Points in units of sqrt(nu) s."""
        x = super().features(x)
        return x / (torch.as_tensor(self.scale, dtype=x.dtype, device=x.device) * math.sqrt(self.df))

    def log_kernel(self, sq_dist: Tensor) -> Tensor:
        """Logarithm of the Student-t density, unnormalized."""
        return sq_dist.log1p() * (-(self.df + 1) / 2)

    def slope(self, sq_dist: Tensor) -> Tensor:
        """Falls with the distance: far points push little."""
        return (1 + sq_dist).reciprocal() * (-(self.df + 1) / 2)

    def kernel(self, sq_dist: Tensor) -> Tensor:
        """A reciprocal for t-SNE: no logarithm."""
        base = 1 + sq_dist
        return base.reciprocal() if self.df == 1 else base ** (-(self.df + 1) / 2)

    def fused_form(self) -> FusedForm:
        """The logarithm of the density, unnormalized."""
        return FusedForm("log1p_sq_dist", -(self.df + 1) / 2)
