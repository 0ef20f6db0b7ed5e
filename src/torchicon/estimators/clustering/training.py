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
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from torchicon.core.numerics import row_blocks
from torchicon.estimators.clustering.graph import Edges
from torchicon.estimators.clustering.heads import Heads

Normalization = Literal["cluster", "point"]

_EMPTY = 1e-12  # mean probability below which a cluster counts as having that of nobody


@dataclass(frozen=True)
class Objective:
    """debias: the uniform share alpha of q. ema: decay of the teacher that scores neighbors, None for none."""

    debias: float
    normalization: Normalization
    ema: float | None


def edge_loss(both: Tensor, objective: Objective) -> Tensor:
    """Mean over b edges of the loss above, (H,): probabilities (H, 2 b, c) of b anchors, then of their neighbors."""
    if objective.normalization == "cluster":
        loss: Tensor = _ByCluster.apply(both, objective.debias)  # type: ignore[no-untyped-call]
        return loss
    anchor, neighbor = both.chunk(2, 1)
    ratio = (anchor * neighbor).sum(-1) / (anchor * both.mean(1, keepdim=True)).sum(-1).clamp_min(_EMPTY)
    return -((1 - objective.debias) * ratio + objective.debias).log().mean(-1)


class _ByCluster(torch.autograd.Function):
    """The loss by cluster makes its gradient on the way: half the passes over (H, 2 b, c) that autograd would take."""

    @staticmethod
    def forward(ctx: Any, both: Tensor, alpha: float) -> Tensor:
        anchor, neighbor = both.chunk(2, 1)
        b = anchor.shape[1]
        mean = both.mean(1, keepdim=True)
        inverse = mean.clamp_min(_EMPTY).reciprocal()
        product = anchor * neighbor
        mixed = torch.bmm(product, inverse.transpose(1, 2)).mul_(1 - alpha).add_(alpha)  # (H, b, 1)
        slope = mixed.reciprocal().mul_((alpha - 1) / b)
        by_mean = torch.bmm(slope.transpose(1, 2), product).mul_(inverse.square()).mul_(-0.5 / b)  # (H, 1, c)
        by_mean.masked_fill_(mean < _EMPTY, 0.0)
        gradient = torch.empty_like(both)
        torch.mul(slope, inverse, out=product)
        torch.addcmul(by_mean, product, neighbor, out=gradient[:, :b])
        torch.addcmul(by_mean, product, anchor, out=gradient[:, b:])
        ctx.save_for_backward(gradient)
        return -mixed.log_().mean((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * slope[:, None, None], None


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
        anchor = edges.anchors((n_heads, batch_size), generator)
        neighbor = edges.neighbors(anchor, generator)
        if teacher is None:
            return edge_loss(heads(x[torch.cat([anchor, neighbor], 1)]), objective).sum()
        with torch.no_grad():
            keys = teacher(x[neighbor])
        return edge_loss(torch.cat([heads(x[anchor]), keys], 1), objective).sum()

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
        index = torch.randint(len(x), (n_heads, batch_size), generator=generator, device=generator.device).to(x.device)
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


@torch.no_grad()
def divergence(
    head: Heads, x: Tensor, edges: Edges, objective: Objective, most: int, generator: torch.Generator
) -> float:
    """KL(p || q) of one head over all rows x, nats: over all edges of p, or over ``most`` drawn ones."""
    graph, n = edges.graph, len(x)
    total = torch.stack([phi[0].double().sum(0) for _, phi in head.blocks(x)]).sum(0)
    anchor, column, weight = edges.listed(most, generator)
    mean = (total / n).to(x.dtype).clamp_min(_EMPTY)
    loss = 0.0
    for rows in row_blocks(len(anchor), 12 * x.itemsize * head.groups.shape[1]):
        one, other = head(x[anchor[rows]])[0], head(x[column[rows]])[0]
        if objective.normalization == "cluster":
            ratio = (one * other) @ mean.reciprocal()
        else:
            ratio = (one * other).sum(1) / (one @ mean).clamp_min(_EMPTY)
        loss -= float(((1 - objective.debias) * ratio + objective.debias).double().log() @ weight[rows].double())
    uniform = edges.debias / n
    p = (1 - edges.debias) * graph.log_p.double().exp() + uniform
    listed = float(torch.special.xlogy(p, p).sum())
    unlisted = (n**2 - len(p)) * uniform * math.log(uniform) if uniform else 0.0
    return loss + math.log(n) + (listed + unlisted) / n
