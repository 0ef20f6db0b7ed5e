r"""Training of heads on the I-Con objective, and of one head on given labels.

The objective is the cross-entropy of p with debiased cluster rows: $-\log((1-\alpha)\, n q_{ij} + \alpha)$ averaged
over edges, with $n q_{ij} = \sum_c \phi_{ic} \phi_{jc} / \bar\phi_c$ by cluster and $\bar\phi$ the mean
over the batch (theory 2.4 and 5). It differs from the KL by log n and the entropy of p, both constant.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchicon.estimators.clustering.graph import Edges
from torchicon.estimators.clustering.heads import Heads

Normalization = Literal["cluster", "point"]


@dataclass(frozen=True)
class Objective:
    """debias: the uniform share alpha of q. ema: decay of the teacher that scores neighbors, None for none."""

    debias: float
    normalization: Normalization
    ema: float | None


def edge_loss(anchor: Tensor, neighbor: Tensor, objective: Objective) -> Tensor:
    """Mean over edges of the loss above, (H,), for probabilities (H, b, c) of both ends."""
    mean = 0.5 * (anchor.mean(1, keepdim=True) + neighbor.mean(1, keepdim=True))
    if objective.normalization == "cluster":
        ratio = (anchor * neighbor / mean.clamp_min(1e-12)).sum(-1)
    else:
        ratio = (anchor * neighbor).sum(-1) / (anchor * mean).sum(-1).clamp_min(1e-12)
    return -((1 - objective.debias) * ratio + objective.debias).clamp_min(1e-30).log().mean(-1)


def train(
    heads: Heads,
    x: Tensor,
    edges: Edges,
    objective: Objective,
    *,
    steps: Iterable[int],
    total: int,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> Heads:
    """Minimize the objective by Adam with cosine decay, every head on minibatches of its own.

    Heads that shared minibatches would agree by accident, and their agreement is what the consensus trusts.
    """
    teacher = copy.deepcopy(heads) if objective.ema is not None else None
    n_heads = len(heads.groups)

    def loss() -> Tensor:
        anchor = torch.randint(len(x), (n_heads, batch_size), generator=generator)
        neighbor = edges.neighbors(anchor, generator)
        if teacher is None:
            both = heads(x[torch.cat([anchor, neighbor], 1)])
            return edge_loss(both[:, :batch_size], both[:, batch_size:], objective).sum()
        with torch.no_grad():
            keys = teacher(x[neighbor])
        return edge_loss(heads(x[anchor]), keys, objective).sum()

    def follow() -> None:
        if teacher is not None and objective.ema is not None:
            for slow, fast in zip(teacher.parameters(), heads.parameters(), strict=True):
                slow.data.lerp_(fast.data, 1 - objective.ema)

    _descend(heads, loss, steps, total, learning_rate, follow)
    return heads


def distill(
    heads: Heads,
    x: Tensor,
    targets: Callable[[Tensor], Tensor],
    *,
    total: int,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> Heads:
    """Teach each head by cross-entropy: a K-Means start, or the consensus.

    targets: from row indices (H, b) to probabilities (H, b, c).
    """
    n_heads = len(heads.groups)

    def loss() -> Tensor:
        index = torch.randint(len(x), (n_heads, batch_size), generator=generator)
        cross_entropy: Tensor = -(targets(index) * heads(x[index]).clamp_min(1e-12).log()).sum(-1).mean(1).sum()
        return cross_entropy

    _descend(heads, loss, range(total), total, learning_rate, lambda: None)
    return heads


def _descend(
    heads: Heads,
    loss: Callable[[], Tensor],
    steps: Iterable[int],
    total: int,
    learning_rate: float,
    after: Callable[[], None],
) -> None:
    optimizer = torch.optim.Adam(heads.parameters(), lr=learning_rate)
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * learning_rate * (1 + math.cos(math.pi * step / total))
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        after()
