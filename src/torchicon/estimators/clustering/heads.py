"""Many cluster heads at once: each maps features to probabilities, all in one batched product."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchicon.core.numerics import row_blocks

_SHARPNESS = 4.0  # inverse temperature of a K-Means start, in units of its mean squared radius


class Heads(nn.Module):
    """H heads of K softmax pieces each, which ``groups`` adds up to c clusters.

    Args:
        weights, biases: of the layers: (H, fan_in, fan_out) and (H, 1, fan_out); ReLU between two layers.
        groups: (H, K, c) one-hot: the cluster of each piece.
    """

    groups: Tensor

    def __init__(self, weights: list[Tensor], biases: list[Tensor], groups: Tensor) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weight.clone() for weight in weights)
        self.biases = nn.ParameterList(bias.clone() for bias in biases)
        self.register_buffer("groups", groups.clone())
        # The product with K x K ones and zeros would cost more than the head itself.
        self._grouped = not torch.equal(groups, _identity(groups, groups.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        """Cluster probabilities (H, b, c) of points (H, b, d), or of the same points (b, d) for every head."""
        if x.dim() == 2:
            x = x.expand(len(self.groups), *x.shape)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.baddbmm(bias, x, weight).relu()
        pieces = torch.baddbmm(self.biases[-1], x, self.weights[-1]).softmax(-1)
        return pieces @ self.groups if self._grouped else pieces

    def merged(self, groups: Tensor) -> Heads:
        """The same heads with their clusters added up by ``groups`` (H, c, c')."""
        return Heads(list(self.weights), list(self.biases), self.groups @ groups)

    def ordered(self, source: Tensor) -> Heads:
        """The same heads with cluster ``source[h, c]`` (H, c) as cluster c."""
        if self._grouped:
            return Heads(list(self.weights), list(self.biases), _columns(self.groups, source))
        *weights, weight = self.weights
        *biases, bias = self.biases
        return Heads([*weights, _columns(weight, source)], [*biases, _columns(bias, source)], self.groups)

    def pick(self, heads: list[int] | Tensor) -> Heads:
        """Only these heads."""
        return Heads([w[heads] for w in self.weights], [b[heads] for b in self.biases], self.groups[heads])

    @torch.no_grad()
    def blocks(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of rows of points (n, d) with their cluster probabilities (H, b, c), without a gradient."""
        n_heads, pieces, _ = self.groups.shape
        for rows in row_blocks(len(x), 3 * n_heads * pieces * x.itemsize):
            yield rows, self(x[rows])

    def labels(self, x: Tensor) -> Tensor:
        """Most probable cluster (H, n) of points (n, d)."""
        return torch.cat([phi.argmax(-1) for _, phi in self.blocks(x)], 1)


def joined(parts: list[Heads]) -> Heads:
    """All heads of the parts, which have layers and clusters of one size."""
    layers = range(len(parts[0].weights))
    return Heads(
        [torch.cat([part.weights[layer].detach() for part in parts]) for layer in layers],
        [torch.cat([part.biases[layer].detach() for part in parts]) for layer in layers],
        torch.cat([part.groups for part in parts]),
    )


def from_centers(centers: Tensor, sq_radius: Tensor) -> Heads:
    """Linear heads whose most probable cluster is the nearest of their centers (H, K, d).

    sq_radius: (H,) mean squared distance of a point to its center.
    """
    sharpness = (_SHARPNESS / sq_radius.clamp_min(1e-12))[:, None, None]
    bias = -0.5 * sharpness * centers.square().sum(-1)[:, None]
    return Heads([sharpness * centers.transpose(1, 2)], [bias], _identity(centers, centers.shape[1]))


def at_random(n_heads: int, sizes: list[int], generator: torch.Generator, device: torch.device) -> Heads:
    """Heads with layers of these sizes and small random weights: a sharper start leaves clusters dead."""
    weights, biases = [], []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        hidden = layer < len(sizes) - 2
        scale = (2 / fan_in) ** 0.5 if hidden else 0.4 * fan_in**-0.5
        drawn = torch.randn(n_heads, fan_in, fan_out, generator=generator, device=generator.device)
        weights.append(scale * drawn.to(device))
        biases.append(torch.zeros(n_heads, 1, fan_out, device=device))
    return Heads(weights, biases, _identity(weights[0], sizes[-1]))


def _identity(like: Tensor, size: int) -> Tensor:
    """One for each head of ``like`` (H, ...), of its type and device."""
    return torch.eye(size, dtype=like.dtype, device=like.device).expand(len(like), size, size)


def _columns(x: Tensor, source: Tensor) -> Tensor:
    """Column ``source[h, c]`` (H, c) of x (H, r, c) as column c."""
    return x.gather(2, source[:, None].expand_as(x))
