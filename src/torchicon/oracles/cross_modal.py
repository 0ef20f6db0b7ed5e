"""Losses of two modalities by torch's cross-entropy over rows and columns, and by loops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Problem, with_gradients


def _symmetric(logits: Tensor) -> Tensor:
    """The two cross-entropies of open_clip's ClipLoss, halved."""
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def clip(problem: Problem) -> tuple[Tensor, ...]:
    """Radford et al. 2021, figure 3."""

    def value(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
        return _symmetric(log_scale.exp() * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T)

    return with_gradients(value, problem, "z", "text", "log_scale")


def cmc(problem: Problem) -> tuple[Tensor, ...]:
    """Tian et al. 2020, eq. 3 to 5: h = exp(cos / tau), L(V1, V2) + L(V2, V1) with the batch as the negatives."""

    def value(first: Tensor, second: Tensor) -> Tensor:
        losses = []
        for anchors, others in ((first, second), (second, first)):
            for i in range(len(anchors)):
                h = [torch.exp(F.cosine_similarity(anchors[i], other, dim=0) / 0.07) for other in others]
                losses.append(-torch.log(h[i] / sum(h, torch.tensor(0.0))) / len(anchors))
        return torch.stack(losses).sum()

    return with_gradients(value, problem, "z", "text")


def laclip(problem: Problem) -> tuple[Tensor, ...]:
    """Fan et al. 2023 as in their code: CLIP's loss with the text that was drawn for each image."""

    def value(image: Tensor, rewrites: Tensor, log_scale: Tensor) -> Tensor:
        text = torch.stack([rewrites[i, k] for i, k in enumerate(problem["drawn"].tolist())])
        return _symmetric(log_scale.exp() * F.cosine_similarity(image[:, None], text[None], dim=-1))

    return with_gradients(value, problem, "z", "rewrites", "log_scale")


def t_clip(problem: Problem) -> tuple[Tensor, ...]:
    """CLIP's two cross-entropies of Student-t logits."""

    def value(image: Tensor, text: Tensor) -> Tensor:
        return _symmetric(-torch.log(1 + (image[:, None] - text[None]).pow(2).sum(-1)))

    return with_gradients(value, problem, "z", "text")


ORACLES: dict[str, Oracle] = {"clip": clip, "cmc": cmc, "laclip": laclip, "t_clip": t_clip}
