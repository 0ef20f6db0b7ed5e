"""New points on a finished map: each minimizes the KL divergence of its own row, the map held still."""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.core.fft_sum import LatticeField
from torchicon.core.numerics import row_blocks
from torchicon.core.sums import ExactField
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.repulsion import TRUSTED

__all__ = ["place"]

_STEPS = 200
_REST = 1e-4  # a step shorter than this share of the kernel's width ends a point's descent


@torch.no_grad()
def place(index: Tensor, log_p: Tensor, frozen: Tensor, kernel: MapKernel) -> Tensor:
    r"""Positions (m, d) of new points on a finished map, each minimizing the KL divergence of its own row.

    That is $KL(p_i \| q_i)$ with $q_{j|i} \propto K(|y_i - y_j|^2)$ over the points j of the map.
    New points do not see each other: up to rounding a point's place depends neither on the others nor on chance. Each
    starts at the median of its neighbors and only ever goes downhill: a step is the gradient over the curvature of the
    attraction, shortened where it would rise.

    Args:
        index: (m, k) the neighbors of each new point among the points of the map.
        log_p: (m, k) their log-probabilities; each row's sum to 1.
        frozen: (n, d) the map.
        kernel: the kernel the map was made with.

    Raises:
        ValueError: shapes that do not fit, or an index outside the map.
    """
    if index.ndim != 2 or index.shape != log_p.shape or frozen.ndim != 2 or index.shape[1] == 0:
        raise ValueError(
            f"index and log_p must be (m, k), frozen (n, d); got {tuple(index.shape)}, {tuple(log_p.shape)} and "
            f"{tuple(frozen.shape)}."
        )
    if len(index) == 0:
        return frozen.new_empty(0, frozen.shape[1])
    if int(index.min()) < 0 or int(index.max()) >= len(frozen):
        raise ValueError(
            f"Neighbors must be rows of the map, 0 .. {len(frozen) - 1}, got {int(index.min())} .. {int(index.max())}."
        )
    field = _MapField(frozen, kernel)
    p = log_p.exp().to(frozen.dtype)
    blocks = row_blocks(len(index), 8 * index.shape[1] * frozen.shape[1] * frozen.element_size())
    return torch.cat([_descend(frozen[index[rows]], p[rows], field, kernel) for rows in blocks])


def _descend(neighbors: Tensor, p: Tensor, field: _MapField, kernel: MapKernel) -> Tensor:
    """Gradient steps over the curvature of the attraction, for each point by itself, until it rests."""
    y = _weighted_median(neighbors, p)
    moving = torch.arange(len(y), device=y.device)
    value, gradient, curvature = _row(y, neighbors, p, field, kernel)
    length = torch.ones_like(value)
    for _ in range(_STEPS):
        step = length.unsqueeze(1) * gradient / curvature.unsqueeze(1)
        active = step.norm(dim=1) > _REST
        moving, step, length = moving[active], step[active], length[active]
        value, gradient, curvature = value[active], gradient[active], curvature[active]
        if len(moving) == 0:
            break
        trial = field.clamp(y[moving] - step)
        new_value, new_gradient, new_curvature = _row(trial, neighbors[moving], p[moving], field, kernel)
        better = new_value < value
        y[moving[better]] = trial[better]
        value = torch.where(better, new_value, value)
        gradient = torch.where(better.unsqueeze(1), new_gradient, gradient)
        curvature = torch.where(better, new_curvature, curvature)
        length = torch.where(better, length * 1.5, length * 0.5)
    return y


def _row(y: Tensor, neighbors: Tensor, p: Tensor, field: _MapField, kernel: MapKernel) -> tuple[Tensor, Tensor, Tensor]:
    """KL of each row up to a constant (b,), its gradient (b, d), and the curvature of its attraction (b,)."""
    log_z, push = field(y)
    difference = y.unsqueeze(1) - neighbors  # (b, k, d)
    sq_dist = difference.square().sum(2)
    pull = -2 * p * kernel.log_slope(sq_dist)
    value = log_z - (p * kernel.log_value(sq_dist)).sum(1)
    return value, push + (pull.unsqueeze(2) * difference).sum(1), pull.sum(1)


class _MapField:
    """Log of the sum of K over all points of the map, and its gradient, anywhere near the map."""

    def __init__(self, frozen: Tensor, kernel: MapKernel) -> None:
        low, high = frozen.amin(0), frozen.amax(0)
        # A place outside the map is possible, but the neighbors pull back: half the map's size is room enough.
        room = (high - low).amax() / 2 + 1
        self._low, self._high = low - room, high + room
        charges = frozen.new_ones(len(frozen), 1)
        self._exact = ExactField(frozen, charges, kernel.value, kernel.slope)
        self._field = kernel.sums().field(frozen, charges, box=(self._low, self._high))

    def clamp(self, y: Tensor) -> Tensor:
        """The nearest positions where the field can be read."""
        return torch.minimum(torch.maximum(y, self._low), self._high)

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log Z (b,) and its gradient (b, d)."""
        normalizer, push = self._field.values(y).squeeze(1), self._field.gradients(y)[:, 0]
        outlying = normalizer < TRUSTED
        if isinstance(self._field, LatticeField) and outlying.any():
            normalizer[outlying] = self._exact.values(y[outlying]).squeeze(1)
            push[outlying] = self._exact.gradients(y[outlying])[:, 0]
        normalizer.clamp_(min=torch.finfo(y.dtype).tiny)
        return normalizer.log(), push / normalizer.unsqueeze(1)


def _weighted_median(points: Tensor, p: Tensor) -> Tensor:
    """Median of each coordinate of (m, k, d) points with weights (m, k)."""
    ordered, order = points.sort(dim=1)
    mass = p.unsqueeze(2).expand_as(points).gather(1, order).cumsum(1)
    middle = (mass < 0.5 * mass[:, -1:]).sum(1, keepdim=True).clamp_(max=points.shape[1] - 1)
    return ordered.gather(1, middle).squeeze(1)
