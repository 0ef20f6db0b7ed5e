"""Witness functions: learned critics that score every pair of two sets of representations (theory 2.5).

They need not be symmetric, so that their scores go into a `Dense` neighborhood: ``Dense(witness(g, h))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from torchicon.mappers.plain import linear, mlp


@final
class DotWitness(nn.Module):
    r"""$g_i \cdot h_j$: nothing to learn.

    >>> DotWitness()(torch.eye(2), torch.ones(3, 2)).shape
    torch.Size([2, 3])
    """

    def forward(self, g: Tensor, h: Tensor) -> Tensor:
        """Scores (n, m) of all pairs of rows of g (n, d) and h (m, d)."""
        _require_widths(g, h, g.shape[-1], g.shape[-1])
        return g @ h.T


@final
class BilinearWitness(nn.Module):
    r"""$g_i^\top W h_j$.

    Args:
        d_g: width of the anchors' side.
        d_h: width of the candidates' side.
        seed: of the start.
        dtype: of W.

    >>> BilinearWitness(2, 5)(torch.eye(2), torch.ones(3, 5)).shape
    torch.Size([2, 3])
    """

    def __init__(self, d_g: int, d_h: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = linear(d_h, d_g, seed=seed, dtype=dtype).weight

    def forward(self, g: Tensor, h: Tensor) -> Tensor:
        """Scores (n, m) of all pairs of rows of g (n, d_g) and h (m, d_h)."""
        _require_widths(g, h, *self.weight.shape)
        return g @ self.weight @ h.T


@final
class ConcatenationWitness(nn.Module):
    r"""A perceptron of the concatenation $[g_i, h_j]$.

    Without a hidden layer it is degenerate: the score is $u \cdot g_i + v \cdot h_j + b$, and in the softmax over j the
    anchor's part cancels, so that q is the same for all anchors and there is nothing to contrast. It is here because
    the papers compare it.

    The first layer is applied to either side before pairs are formed, so that memory is n m times the width of a hidden
    layer.

    Args:
        d_g: width of the anchors' side.
        d_h: width of the candidates' side.
        hidden: widths of the hidden layers, with ReLU; () for the linear, degenerate one.
        seed: of the start.
        dtype: of the weights.

    >>> witness = ConcatenationWitness(2, 2, hidden=())
    >>> q = witness(torch.eye(2), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))).softmax(1)
    >>> bool(q[0].allclose(q[1]))
    True
    """

    def __init__(
        self, d_g: int, d_h: int, *, hidden: Sequence[int] = (128,), seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.layers = mlp(d_g + d_h, 1, hidden=hidden, seed=seed, dtype=dtype)
        self.d_g, self.d_h = d_g, d_h

    def forward(self, g: Tensor, h: Tensor) -> Tensor:
        """Scores (n, m) of all pairs of rows of g (n, d_g) and h (m, d_h)."""
        _require_widths(g, h, self.d_g, self.d_h)
        first, *later = self.layers
        assert isinstance(first, nn.Linear)
        of_g, of_h = torch.split(first.weight, [self.d_g, self.d_h], dim=1)
        pairs: Tensor = (g @ of_g.T)[:, None] + (h @ of_h.T + first.bias)[None]  # (n, m, width)
        for layer in later:
            pairs = layer(pairs)
        return pairs[..., 0]


def _require_widths(g: Tensor, h: Tensor, d_g: int, d_h: int) -> None:
    if g.ndim != 2 or h.ndim != 2 or (g.shape[1], h.shape[1]) != (d_g, d_h):
        raise ValueError(
            f"This witness scores g (n, {d_g}) against h (m, {d_h}), got {tuple(g.shape)} and {tuple(h.shape)}."
        )
