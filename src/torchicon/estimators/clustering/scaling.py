"""Features made comparable without labels: one scale for all columns, or one for each where their units differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchicon.estimators._lloyd import power_of_two

Scaling = Literal["auto", "global", "standard"]

_DIMENSIONS = 64  # principal components kept: neighbors and K-Means lose nothing, and everything is faster
_DOMINATED = 0.25  # effective share of columns below which a few columns decide all distances
_CORRELATED = 0.05  # root mean square correlation below which columns are principal components already


@dataclass(frozen=True)
class Scaler:
    """An affine map to (n, at most 64) features of unit mean variance.

    center: (d,); projection: (d, d'); reason: what was done and why.
    """

    center: Tensor
    projection: Tensor
    reason: str

    def __call__(self, x: Tensor) -> Tensor:
        """Scaled float32 features of points (n, d)."""
        return ((x.double() - self.center) @ self.projection).float()


def fit_scaler(x: Tensor, scaling: Scaling) -> Scaler:
    """Choose scale and principal components for points (n, d); constant columns get no weight.

    "auto" divides each column by its own standard deviation only if a few columns hold nearly all variance *and* the
    columns are correlated: then they are measurements in different units. Uncorrelated columns of falling variance are
    principal components, whose scales mean something.
    """
    x = x.double()
    center = x.mean(0)
    unit = power_of_two(x - center)  # squares of huge or tiny numbers would overflow or vanish
    centered = (x - center) / unit
    variance = centered.square().mean(0)
    varies = variance > 1e-18 * variance.max().clamp_min(1e-300)
    if not varies.any():
        return Scaler(center, torch.zeros(x.shape[1], 1, dtype=torch.float64), "All rows are equal.")
    standard, reason = _is_in_different_units(centered, variance, varies, scaling)
    weight = varies.double()
    if standard:
        weight = weight / torch.where(varies, variance, 1.0).sqrt()
    covariance = (centered * weight).T @ (centered * weight) / len(x)
    projection = torch.diag(weight)
    if x.shape[1] > _DIMENSIONS:
        values, vectors = torch.linalg.eigh(covariance)
        projection = projection @ vectors[:, -_DIMENSIONS:].flip(1)
        kept = float(values[-_DIMENSIONS:].sum() / values.sum())
        reason += f" Kept {_DIMENSIONS} principal components ({100 * kept:.0f} % of the variance)."
        spread = values[-_DIMENSIONS:].mean()
    else:
        spread = covariance.diagonal().mean()
    return Scaler(center, projection / spread.sqrt() / unit, reason)


def _is_in_different_units(centered: Tensor, variance: Tensor, varies: Tensor, scaling: Scaling) -> tuple[bool, str]:
    if scaling != "auto":
        how = "standardized each column" if scaling == "standard" else "kept the columns' relative scales"
        return scaling == "standard", f"Features: {how}, as asked."
    v = variance[varies]
    share = float(v.sum() ** 2 / v.square().sum() / len(v))
    if share >= _DOMINATED:
        return False, "Features: kept the columns' relative scales, which are alike."
    unit = centered[:, varies] / v.sqrt()
    rows = unit[:: max(1, len(unit) // 5000)]
    correlation = rows.T @ rows / len(rows)
    off = correlation - torch.diag(correlation.diagonal())
    rms = float((off.square().sum() / max(1, off.numel() - len(off))).sqrt())
    chance = len(rows) ** -0.5
    if rms < _CORRELATED + chance:
        return False, "Features: kept the columns' relative scales, since they look like principal components."
    return True, f"Features: standardized each column, since {100 * share:.0f} % of them hold nearly all variance."
