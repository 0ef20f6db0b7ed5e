r"""The repulsive half of a neighbor embedding: the normalizers over all pairs.

With Z_i = sum_{j != i} K(d_ij) and r_i the mass of anchor i (r sums to 1), the term is sum_i r_i log Z_i when every row
is normalized, and log sum_i Z_i when all pairs are. Both have the gradient

    sum_j (u_i + u_j) 2 K'(d_ij) (y_i - y_j),    u_i = r_i / Z_i, or 1 / Z for all.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from torchicon.core.numerics import block_budget, block_bytes, row_blocks
from torchicon.core.sums import ExactField
from torchicon.estimators.embedding.kernel import MapKernel

__all__ = ["TRUSTED", "JointRepulsion", "Repulsion", "RowRepulsion", "log_normalizers"]

# Interpolation errs by a few thousandths of K(0): a normalizer below this, at an outlying point, is summed exactly.
TRUSTED = 0.5
_CACHE_BYTES = 2 << 20


class Repulsion(Protocol):
    """A normalizing term."""

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient (n, d) at positions y (n, d), and the term's value, a scalar."""

    def exact(self, y: Tensor) -> float:
        """The term's value in float64, interpolated on half the spacing if at all."""


class JointRepulsion:
    """The logarithm of the sum of K over all ordered pairs i != j."""

    def __init__(self, kernel: MapKernel) -> None:
        self.kernel = kernel
        self._sums = kernel.sums()

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and value."""
        field = self._sums.field(y, y.new_ones(len(y), 1))
        total = field.energy() - len(y)  # K(0) = 1
        # A total that underflows has no forces either: they are zero, not 0 / 0.
        scale = torch.where(total > 0, 2 / total, 0.0).to(y.dtype)
        return field.gradients(y)[:, 0] * scale, total.clamp(min=0).log()

    def exact(self, y: Tensor) -> float:
        """Value in float64."""
        return float(log_normalizers(y, self.kernel).logsumexp(0))


class RowRepulsion:
    """The sum over anchors of r_i log Z_i.

    Args:
        kernel: K.
        mass: (n,) r.
    """

    def __init__(self, kernel: MapKernel, mass: Tensor) -> None:
        self.kernel = kernel
        self.mass = mass
        self._sums = kernel.sums()

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and value."""
        mass = self.mass.to(y.dtype)
        every = torch.arange(len(y), device=y.device)
        ones = self._sums.field(y, y.new_ones(len(y), 1))
        if isinstance(ones, ExactField):
            return self._by_softmax(y, every, mass)
        normalizer = ones.values(y).squeeze(1) - 1  # K(0) = 1
        outlying = normalizer < TRUSTED
        share = torch.where(outlying, 0.0, mass / torch.where(outlying, 1.0, normalizer))
        weighted = self._sums.field(y, share.unsqueeze(1))
        gradient = ones.gradients(y)[:, 0] * share.unsqueeze(1) + weighted.gradients(y)[:, 0]
        value = torch.where(outlying, 0.0, mass * torch.where(outlying, 1.0, normalizer).log()).sum(dtype=torch.float64)
        more_gradient, more_value = self._by_softmax(y, every[outlying], mass)
        return gradient + more_gradient, value + more_value

    def _by_softmax(self, y: Tensor, rows: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient, of all points, and value of the terms of some rows, in the log domain: no kernel underflows."""
        gradient = torch.zeros_like(y)
        value = torch.zeros((), dtype=torch.float64, device=y.device)
        for part in _tiles(len(rows), y):
            mine = rows[part]
            differences, sq_dist, log_k = _log_kernel(y, mine, self.kernel)
            log_z = log_k.logsumexp(1)
            value += (mass[mine] * log_z).sum(dtype=torch.float64)
            push = (log_k - log_z.unsqueeze(1)).exp_().mul_(self.kernel.log_slope(sq_dist))
            push.mul_(2 * mass[mine].unsqueeze(1))
            for axis, difference in enumerate(differences):
                force = push * difference
                gradient[mine, axis] += force.sum(1)
                gradient[:, axis] -= force.sum(0)
        return gradient, value

    def exact(self, y: Tensor) -> float:
        """Value in float64."""
        log_z = log_normalizers(y, self.kernel)
        return float((self.mass * torch.where(self.mass > 0, log_z, 0.0)).sum())


def log_normalizers(y: Tensor, kernel: MapKernel) -> Tensor:
    """Log of the sum of K over the other points, for each point: (n,), float64.

    By exact tiles in the log domain, or, where these would take long, interpolated on half the spacing of a descent,
    which makes the errors 16 times smaller.
    """
    y = y.double()
    every = torch.arange(len(y), device=y.device)
    field = kernel.sums(spacing=0.25).field(y, y.new_ones(len(y), 1))
    if isinstance(field, ExactField):
        return _exact_log_normalizers(y, every, kernel)
    sums = field.values(y).squeeze(1) - 1  # K(0) = 1
    outlying = sums < TRUSTED
    result = sums.log()
    result[outlying] = _exact_log_normalizers(y, every[outlying], kernel)
    return result


def _exact_log_normalizers(y: Tensor, rows: Tensor, kernel: MapKernel) -> Tensor:
    result = y.new_empty(len(rows))
    for part in _tiles(len(rows), y):
        _, _, log_k = _log_kernel(y, rows[part], kernel)
        result[part] = log_k.logsumexp(1)
    return result


def _log_kernel(y: Tensor, rows: Tensor, kernel: MapKernel) -> tuple[list[Tensor], Tensor, Tensor]:
    """Differences of some rows to all points, (b, n) an axis, their squares' sum, and log K without the row itself."""
    differences = [axis[rows].unsqueeze(1) - axis for axis in y.unbind(1)]
    sq_dist = differences[0].square()
    for difference in differences[1:]:
        sq_dist.addcmul_(difference, difference)
    log_k = kernel.log_value(sq_dist)
    log_k[torch.arange(len(rows), device=y.device), rows] = -math.inf
    return differences, sq_dist, log_k


def _tiles(count: int, y: Tensor) -> list[slice]:
    budget = min(block_bytes(), _CACHE_BYTES) if y.device.type == "cpu" else block_bytes()
    with block_budget(budget):
        return row_blocks(count, (y.shape[1] + 4) * len(y) * y.element_size())
