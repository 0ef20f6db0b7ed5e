"""The kernel of a map: a radial score, as a function of squared distances in units of its own width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchicon.core.score import Radial
from torchicon.core.sums import KernelSum
from torchicon.neighborhoods import Gaussian, Perplexity

__all__ = ["MapKernel"]


@dataclass(frozen=True)
class MapKernel:
    """A score whose kernel is 1 at distance 0 and falls by about one within distance 1.

    In these units one learning rate and one lattice serve every kernel, whatever its scale.

    Attributes:
        score: the score, as a function of squared distances of features.
        sq_width: squared distance of features that counts as 1, -1 / (log K)'(0); 1 where that slope is not finite.
        unit: distance of points that counts as 1.

    >>> from torchicon import StudentT
    >>> MapKernel.of(StudentT(3.0, scale=2.0)).unit
    2.4494897427831783
    """

    score: Radial
    sq_width: float
    unit: float

    @classmethod
    def of(cls, score: Radial) -> MapKernel:
        """The kernel of a neighborhood such as ``StudentT()``, ``Gaussian()`` or ``Exponential()``.

        Raises:
            TypeError: no function of the distance, or one that differs from anchor to anchor.
            ValueError: a kernel that is infinite at distance 0.
        """
        if not isinstance(score, Radial) or (isinstance(score, Gaussian) and isinstance(score.bandwidth, Perplexity)):
            raise TypeError(
                f"The q of a map must be one function of the distance for all points, such as StudentT(), "
                f"Gaussian(1.0) or Exponential(1.0), got {score!r}."
            )
        with torch.no_grad():
            origin = torch.zeros(1, dtype=torch.float64)
            if float(score.log_kernel(origin)) != 0:
                raise ValueError(
                    f"The kernel of a map must be 1 at distance 0, got exp({float(score.log_kernel(origin)):.4g}) for "
                    f"{score!r}: points start close together."
                )
            slope = float(score.slope(origin))
            scale = float(score.features(torch.ones(1, 1, dtype=torch.float64)))
        sq_width = -1 / slope if -math.inf < slope < 0 else 1.0
        return cls(score, sq_width, math.sqrt(sq_width) / scale)

    def value(self, sq_dist: Tensor) -> Tensor:
        """K."""
        return self.score.kernel(self._in_features(sq_dist))

    def slope(self, sq_dist: Tensor) -> Tensor:
        """dK / dd."""
        return self.value(sq_dist) * self.log_slope(sq_dist)

    def log_value(self, sq_dist: Tensor) -> Tensor:
        """Log K, finite where K underflows."""
        return self.score.log_kernel(self._in_features(sq_dist))

    def log_slope(self, sq_dist: Tensor) -> Tensor:
        """d log K / dd."""
        slope = self.score.slope(self._in_features(sq_dist))
        return slope if self.sq_width == 1 else slope * self.sq_width

    def sums(self, spacing: float = 0.5) -> KernelSum:
        """Sums of the kernel over points, interpolated with nodes ``spacing`` apart."""
        return KernelSum(self.value, self.slope, spacing=spacing)

    def _in_features(self, sq_dist: Tensor) -> Tensor:
        return sq_dist if self.sq_width == 1 else sq_dist * self.sq_width
