"""The kernels of neighbor embeddings as functions of squared distance, with the derivatives their forces need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Gaussian", "Radial", "StudentT"]


class Radial(Protocol):
    """A kernel K of the squared distance d, with K(0) = 1."""

    @property
    def width(self) -> float:
        """Distance over which the kernel changes, sqrt(-1 / K'(0)); sets the spacing of the lattice."""

    def value(self, sq_dist: Tensor) -> Tensor:
        """K."""

    def slope(self, sq_dist: Tensor) -> Tensor:
        """dK / dd."""

    def log_value(self, sq_dist: Tensor) -> Tensor:
        """Log K, finite where K underflows."""

    def log_slope(self, sq_dist: Tensor) -> Tensor:
        """d log K / dd."""


@dataclass(frozen=True)
class StudentT:
    r"""$K = (1 + d / \nu s^2)^{-(\nu + 1)/2}$; t-SNE has one degree of freedom and scale 1.

    Raises:
        ValueError: degrees of freedom or a scale that are not positive and finite.
    """

    df: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(df=self.df, scale=self.scale)

    @property
    def width(self) -> float:
        """sqrt(-1 / K'(0))."""
        return self.scale * math.sqrt(2 * self.df / (self.df + 1))

    def value(self, sq_dist: Tensor) -> Tensor:
        """K."""
        return (1 + sq_dist / (self.df * self.scale**2)).pow_(-(self.df + 1) / 2)

    def slope(self, sq_dist: Tensor) -> Tensor:
        """dK / dd."""
        power = (1 + sq_dist / (self.df * self.scale**2)).pow_(-(self.df + 3) / 2)
        return power.mul_(-(self.df + 1) / (2 * self.df * self.scale**2))

    def log_value(self, sq_dist: Tensor) -> Tensor:
        """Log K."""
        return torch.log1p(sq_dist / (self.df * self.scale**2)).mul_(-(self.df + 1) / 2)

    def log_slope(self, sq_dist: Tensor) -> Tensor:
        """d log K / dd."""
        return -(self.df + 1) / 2 / (sq_dist + self.df * self.scale**2)


@dataclass(frozen=True)
class Gaussian:
    r"""$K = \exp(-d / 2 \sigma^2)$; SNE has variance $\sigma^2 = 1/2$.

    Raises:
        ValueError: a variance that is not positive and finite.
    """

    variance: float = 0.5

    def __post_init__(self) -> None:
        _check_positive(variance=self.variance)

    @property
    def width(self) -> float:
        """sqrt(-1 / K'(0))."""
        return math.sqrt(2 * self.variance)

    def value(self, sq_dist: Tensor) -> Tensor:
        """K."""
        return (sq_dist * (-0.5 / self.variance)).exp_()

    def slope(self, sq_dist: Tensor) -> Tensor:
        """dK / dd."""
        return self.value(sq_dist).mul_(-0.5 / self.variance)

    def log_value(self, sq_dist: Tensor) -> Tensor:
        """Log K."""
        return sq_dist * (-0.5 / self.variance)

    def log_slope(self, sq_dist: Tensor) -> Tensor:
        """d log K / dd, the same everywhere."""
        return torch.full_like(sq_dist, -0.5 / self.variance)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}.")
