"""Lookup tables, linear maps and small perceptrons, with seeded starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Lookup(nn.Module):
    """A free table: every point owns its representation (SNE, t-SNE, K-Means).

    Args:
        start: (n, d) initial representations; copied.

    >>> Lookup(torch.zeros(3, 2))(torch.tensor([2])).shape
    torch.Size([1, 2])
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(start.detach().clone())

    def forward(self, index: Tensor | None = None) -> Tensor:
        """Rows ``index`` (b,) of the table, or all of it."""
        return self.table if index is None else self.table[index]


def linear(n_in: int, n_out: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Linear:
    """An affine map with a start that depends on the seed alone."""
    layer = nn.Linear(n_in, n_out, dtype=dtype, device="meta").to_empty(device="cpu")  # no draw from the global RNG
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(n_in)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.uniform_(-bound, bound, generator=generator)
    return layer


def mlp(
    n_in: int, n_out: int, *, hidden: Sequence[int] = (128,), seed: int = 0, dtype: torch.dtype = torch.float32
) -> nn.Sequential:
    """Affine maps with ReLU between them.

    >>> mlp(4, 2, hidden=(8,))(torch.zeros(1, 4)).shape
    torch.Size([1, 2])
    """
    sizes = [n_in, *hidden, n_out]
    layers: list[nn.Module] = []
    for depth, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layers += [linear(fan_in, fan_out, seed=seed + depth, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def orthonormal(n_in: int, n_out: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A linear map without bias whose rows stay orthonormal (W^T W = I): PCA's mapper (theory 2.1).

    Raises:
        ValueError: more outputs than inputs, which cannot be orthonormal.
    """
    if n_out > n_in:
        raise ValueError(f"{n_out} directions in {n_in} dimensions cannot be orthonormal.")
    layer = linear(n_in, n_out, seed=seed, dtype=dtype)
    layer.register_parameter("bias", None)
    nn.utils.parametrize.register_parametrization(layer, "weight", _OrthonormalRows())
    return layer


class _OrthonormalRows(nn.Module):
    """The Q of a QR decomposition; torch's own parametrization draws from the global generator."""

    def forward(self, weight: Tensor) -> Tensor:
        q: Tensor = torch.linalg.qr(weight.T).Q
        return q.T
