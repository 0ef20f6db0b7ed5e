"""Kernel-InfoNCE by torch's cross-entropy of distances, and by loops over ratios of kernels.

Tan et al. 2024, Algorithm 2 and section 5.2, with s_ij = -|z_i - z_j|^gamma / tau (the minus is missing in print).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Pair, Problem

GAMMA, LAPLACIAN, GAUSSIAN, SHARE = 0.5, 0.4, 0.3, 0.8  # the rows' exponent, temperatures and share of the Laplacian

PairKernel = Callable[[Tensor, Tensor], Tensor]


def kernel_infonce(problem: Problem) -> Pair:
    """Algorithm 2 with one gamma."""
    return _of_unit(problem, lambda unit: _algorithm_2(unit, GAMMA, LAPLACIAN))


def laplacian(problem: Problem) -> Pair:
    """Algorithm 2 with gamma = 1."""
    return _of_unit(problem, lambda unit: _algorithm_2(unit, 1.0, LAPLACIAN))


def loss_sum(problem: Problem) -> Pair:
    """Algorithm 2: lambda times the loss of gamma = 1, 1 - lambda times that of gamma = 2."""
    return _of_unit(
        problem,
        lambda unit: SHARE * _algorithm_2(unit, 1.0, LAPLACIAN) + (1 - SHARE) * _algorithm_2(unit, 2.0, GAUSSIAN),
    )


def concatenated_losses(problem: Problem) -> Pair:
    """The same with gamma = 1 on the first half of the dimensions and gamma = 2 on the second (official code)."""

    def loss(unit: Tensor) -> Tensor:
        first, second = unit.chunk(2, dim=1)
        return SHARE * _algorithm_2(first, 1.0, LAPLACIAN) + (1 - SHARE) * _algorithm_2(second, 2.0, GAUSSIAN)

    return _of_unit(problem, loss)


def concatenated_losses_reversed(problem: Problem) -> Pair:
    """The same with gamma = 2 on the first half (section 5.2)."""

    def loss(unit: Tensor) -> Tensor:
        first, second = unit.chunk(2, dim=1)
        return SHARE * _algorithm_2(second, 1.0, LAPLACIAN) + (1 - SHARE) * _algorithm_2(first, 2.0, GAUSSIAN)

    return _of_unit(problem, loss)


def kernel_sum(problem: Problem) -> Pair:
    """Section 5.2, simple sum: -log K(i, j) / sum_k K(i, k) of the two kernels' sum."""
    return _of_unit(problem, lambda unit: _ratio(unit, lambda a, b: _gauss(a, b) + _laplace(a, b)))


def laplacian_first(problem: Problem) -> Pair:
    """Concatenation sum in the order of Table 2."""
    return _of_unit(problem, lambda unit: _ratio(unit, lambda a, b: _laplace(a[:3], b[:3]) + _gauss(a[3:], b[3:])))


def gaussian_first(problem: Problem) -> Pair:
    """Concatenation sum in the order of section 5.2."""
    return _of_unit(problem, lambda unit: _ratio(unit, lambda a, b: _gauss(a[:3], b[:3]) + _laplace(a[3:], b[3:])))


def _algorithm_2(unit: Tensor, gamma: float, temperature: float) -> Tensor:
    """Mean cross-entropy over the 2B - 1 others; row i and i + B are views of one image."""
    n = len(unit)
    others = ~torch.eye(n, dtype=torch.bool)
    distance = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")[others].reshape(n, n - 1)
    half = n // 2
    # without the diagonal, columns to the right of it have moved by one
    target = torch.cat([torch.arange(half) + half - 1, torch.arange(half)])
    return F.cross_entropy(-(distance**gamma) / temperature, target)


def _ratio(unit: Tensor, kernel: PairKernel) -> Tensor:
    n = len(unit)
    losses = []
    for i in range(n):
        weight = {k: kernel(unit[i], unit[k]) for k in range(n) if k != i}
        losses.append(-torch.log(weight[(i + n // 2) % n] / torch.stack(list(weight.values())).sum()))
    return torch.stack(losses).mean()


def _laplace(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-torch.linalg.vector_norm(a - b) / LAPLACIAN)


def _gauss(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-((a - b) @ (a - b)) / GAUSSIAN)


def _of_unit(problem: Problem, loss: Callable[[Tensor], Tensor]) -> Pair:
    z = problem["z"].clone().requires_grad_()
    value = loss(z / z.norm(dim=1, keepdim=True))
    return value.detach(), torch.autograd.grad(value, z)[0]


ORACLES: dict[str, Oracle] = {
    "kernel_infonce": kernel_infonce,
    "kernel_infonce_laplacian": laplacian,
    "kernel_infonce_kernel_sum": kernel_sum,
    "kernel_infonce_loss_sum": loss_sum,
    "kernel_infonce_laplacian_first": laplacian_first,
    "kernel_infonce_gaussian_first": gaussian_first,
    "kernel_infonce_concatenated_losses": concatenated_losses,
    "kernel_infonce_concatenated_losses_reversed": concatenated_losses_reversed,
}
