"""Heads on an encoder: projections for contrastive losses, clusters, predictors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


def projection_head(
    n_in: int, n_out: int, *, hidden: int | None = None, layers: int = 2, last_norm: bool = False
) -> nn.Sequential:
    """The projection head of SimCLR and MoCo v3: linear maps with batch normalization and ReLU between them.

    Args:
        n_in: features of the encoder.
        n_out: dimensions of the representation z.
        hidden: of the layers in between; ``n_in`` when omitted.
        layers: linear maps; SimCLR has 2 (on CIFAR-10) or 3 (version 2), MoCo v3's ViT has 3. 1 is a linear head.
        last_norm: end with a batch normalization without scale and shift, as MoCo v3.

    Raises:
        ValueError: fewer than one layer, or no hidden unit.

    >>> projection_head(64, 16, hidden=32, layers=3)(torch.zeros(4, 64)).shape
    torch.Size([4, 16])
    """
    if layers < 1:
        raise ValueError(f"A projection head has at least one layer, got {layers}.")
    hidden = n_in if hidden is None else hidden
    if hidden < 1:
        raise ValueError(f"A projection head has at least one hidden unit, got {hidden}; None is as many as features.")
    sizes = [n_in, *[hidden] * (layers - 1), n_out]
    parts: list[nn.Module] = []
    for depth in range(layers):
        last = depth == layers - 1
        parts.append(nn.Linear(sizes[depth], sizes[depth + 1], bias=last and not last_norm))
        if not last:
            parts += [nn.BatchNorm1d(sizes[depth + 1]), nn.ReLU(inplace=True)]
        elif last_norm:
            parts.append(nn.BatchNorm1d(n_out, affine=False))
    return nn.Sequential(*parts)


@final
class ClusterHeads(nn.Module):
    """Several cluster heads on one encoder, which start apart and learn side by side (CRLC's sub-heads).

    Args:
        n_in: features of the encoder.
        n_clusters: of each head.
        heads: their number.
        hidden: units of a hidden layer that every head has for itself; none when omitted.

    Raises:
        ValueError: no head, fewer than two clusters, or a hidden layer without units.

    >>> ClusterHeads(64, 10, heads=3)(torch.zeros(4, 64)).shape
    torch.Size([3, 4, 10])
    """

    def __init__(self, n_in: int, n_clusters: int, *, heads: int = 1, hidden: int | None = None) -> None:
        super().__init__()
        self.n_clusters = n_clusters
        if heads < 1 or n_clusters < 2 or (hidden is not None and hidden < 1):
            raise ValueError(
                "There must be one head, two clusters and one hidden unit (or None for no hidden layer) at least, got "
                f"heads={heads}, n_clusters={n_clusters}, hidden={hidden}."
            )
        self.heads = nn.ModuleList(
            nn.Linear(n_in, n_clusters)
            if hidden is None
            else nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, n_clusters))
            for _ in range(heads)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits (heads, b, n_clusters)."""
        return torch.stack([head(features) for head in self.heads])
