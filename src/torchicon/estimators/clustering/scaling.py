"""Features made comparable without labels: one scale for all columns, or one for each where their units differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchicon.core.numerics import row_blocks
from torchicon.estimators._points import Points, floor_power_of_two

Scaling = Literal["auto", "global", "standard"]

_DIMENSIONS = 64  # principal components kept: neighbors and K-Means lose nothing, and everything is faster
_MOST_DIMENSIONS = 128  # with more clusters as many components are kept, since their means span as many, up to here
_MOST_ROWS = 100_000  # rows that center, scale and components are taken from
_DOMINATED = 0.25  # effective share of columns below which a few columns decide all distances
_CORRELATED = 0.05  # root mean square correlation below which columns are principal components already


@dataclass(frozen=True)
class Scaler:
    """An affine map to (n, at most 128) features of unit mean variance.

    center: (d,); projection: (d, d'); reason: what was done and why.
    """

    center: Tensor
    projection: Tensor
    reason: str

    def __call__(self, x: Points, device: torch.device) -> Tensor:
        """Scaled float32 features of points (n, d), which are visited in blocks."""
        center, projection = self.center.to(device), self.projection.to(device)
        scaled = torch.empty(len(x), projection.shape[1], dtype=torch.float32, device=device)
        for rows in row_blocks(len(x), 24 * x.shape[1]):
            scaled[rows] = ((x[rows].to(device).double() - center) @ projection).float()
        return scaled


def fit_scaler(x: Points, scaling: Scaling, *, n_clusters: int, generator: torch.Generator) -> Scaler:
    """Choose scale and principal components for points (n, d); constant columns get no weight.

    "auto" divides each column by its own standard deviation only if a few columns hold nearly all variance *and* the
    columns are correlated: then they are measurements in different units. Uncorrelated columns of falling variance are
    principal components, whose scales mean something.
    """
    n, d = x.shape
    index = torch.arange(n, device=generator.device)
    if n > _MOST_ROWS:
        index = torch.randperm(n, generator=generator, device=generator.device)[:_MOST_ROWS].sort().values
    blocks = [index[rows] for rows in row_blocks(len(index), 24 * d)]
    center = torch.stack([x[rows].double().sum(0) for rows in blocks]).sum(0) / len(index)
    # Squares of huge or tiny numbers would overflow or vanish.
    unit = floor_power_of_two(max(float((x[rows].double() - center).abs().max()) for rows in blocks))
    covariance = center.new_zeros(d, d)
    for rows in blocks:
        centered = (x[rows].double() - center) / unit
        covariance.addmm_(centered.T, centered, alpha=1 / len(index))
    variance = covariance.diagonal()
    varies = variance > 1e-18 * variance.max().clamp_min(1e-300)
    if not varies.any():
        return Scaler(center, center.new_zeros(d, 1), "All rows are equal.")
    standard, reason = _is_in_different_units(covariance, varies, len(index), scaling)
    weight = varies.double()
    if standard:
        weight = weight / torch.where(varies, variance, 1.0).sqrt()
    covariance = covariance * weight * weight[:, None]
    projection = torch.diag(weight)
    most = max(_DIMENSIONS, min(n_clusters, _MOST_DIMENSIONS))
    if d > most:
        values, vectors = torch.linalg.eigh(covariance)
        projection = projection @ vectors[:, -most:].flip(1)
        kept = float(values[-most:].sum() / values.sum())
        reason += f" Kept {most} principal components ({100 * kept:.0f} % of the variance)."
        spread = values[-most:].mean()
    else:
        spread = covariance.diagonal().mean()
    return Scaler(center, projection / spread.sqrt() / unit, reason)


def _is_in_different_units(covariance: Tensor, varies: Tensor, n: int, scaling: Scaling) -> tuple[bool, str]:
    if scaling != "auto":
        how = "standardized each column" if scaling == "standard" else "kept the columns' relative scales"
        return scaling == "standard", f"Features: {how}, as asked."
    covariance = covariance[varies][:, varies]
    v = covariance.diagonal()
    share = float(v.sum() ** 2 / v.square().sum() / len(v))
    if share >= _DOMINATED:
        return False, "Features: kept the columns' relative scales, which are alike."
    squares = (covariance / v.sqrt() / v.sqrt()[:, None]).square()
    rms = float(((squares.sum() - len(v)) / max(1, len(v) * (len(v) - 1))).clamp_min(0).sqrt())
    if rms < _CORRELATED + n**-0.5:  # what chance makes of independent columns
        return False, "Features: kept the columns' relative scales, since they look like principal components."
    return True, f"Features: standardized each column, since {100 * share:.0f} % of them hold nearly all variance."
