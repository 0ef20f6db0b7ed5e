"""Many cluster heads at once: each maps features to probabilities, all in one batched product."""

from __future__ import annotations

import itertools

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
        self._grouped = not torch.equal(groups, _identity(*groups.shape[:2]))

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

    def pick(self, heads: list[int] | Tensor) -> Heads:
        """Only these heads."""
        return Heads([w[heads] for w in self.weights], [b[heads] for b in self.biases], self.groups[heads])

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Cluster probabilities (H, n, c) of points (n, d), without a gradient."""
        n_heads, pieces, n_clusters = self.groups.shape
        result = x.new_empty(n_heads, len(x), n_clusters)
        for rows in row_blocks(len(x), 3 * n_heads * pieces * x.itemsize):
            result[:, rows] = self(x[rows])
        return result


def from_centers(centers: Tensor, sq_radius: Tensor) -> Heads:
    """Linear heads whose most probable cluster is the nearest of their centers (H, K, d).

    sq_radius: (H,) mean squared distance of a point to its center.
    """
    sharpness = (_SHARPNESS / sq_radius.clamp_min(1e-12))[:, None, None]
    bias = -0.5 * sharpness * centers.square().sum(-1)[:, None]
    return Heads([sharpness * centers.transpose(1, 2)], [bias], _identity(len(centers), centers.shape[1]))


def at_random(n_heads: int, sizes: list[int], generator: torch.Generator) -> Heads:
    """Heads with layers of these sizes and small random weights: a sharper start leaves clusters dead."""
    weights, biases = [], []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        hidden = layer < len(sizes) - 2
        scale = (2 / fan_in) ** 0.5 if hidden else 0.4 * fan_in**-0.5
        weights.append(scale * torch.randn(n_heads, fan_in, fan_out, generator=generator))
        biases.append(torch.zeros(n_heads, 1, fan_out))
    return Heads(weights, biases, _identity(n_heads, sizes[-1]))


def _identity(n_heads: int, size: int) -> Tensor:
    return torch.eye(size).expand(n_heads, size, size)
