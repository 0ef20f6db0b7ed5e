"""Supervised losses by torch and scikit-learn, and by the printed sum."""

from __future__ import annotations

import torch
from sklearn.metrics import zero_one_loss
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Problem, with_gradients

_CLASSIFIER = ("z", "prototypes", "bias")


def cross_entropy(problem: Problem) -> tuple[Tensor, ...]:
    """Softmax cross-entropy of a linear classifier."""
    return with_gradients(lambda *w: F.cross_entropy(F.linear(*w), problem["label"]), problem, *_CLASSIFIER)


def label_smoothing(problem: Problem) -> tuple[Tensor, ...]:
    """Szegedy et al. 2016, sec. 7, by torch's argument of that name."""
    return with_gradients(
        lambda *w: F.cross_entropy(F.linear(*w), problem["label"], label_smoothing=0.1), problem, *_CLASSIFIER
    )


def masked_token(problem: Problem) -> tuple[Tensor, ...]:
    """Devlin et al. 2019, sec. 3.1: what is not masked is ignored."""
    label = problem["label"].masked_fill(~problem["masked"], -100)
    return with_gradients(lambda *w: F.cross_entropy(F.linear(*w), label, ignore_index=-100), problem, *_CLASSIFIER)


def next_token(problem: Problem) -> tuple[Tensor, ...]:
    """Bengio et al. 2003, sec. 2: each position's logits against the token that follows."""
    return with_gradients(lambda *w: F.cross_entropy(F.linear(*w)[:-1], problem["label"][1:]), problem, *_CLASSIFIER)


def squared_error(problem: Problem) -> tuple[Tensor, ...]:
    """Mean squared error."""
    return with_gradients(lambda z: F.mse_loss(z, problem["lattice"][problem["target"]]), problem, "z")


def harmonic(problem: Problem) -> tuple[Tensor, ...]:
    """Baek et al. 2025: -log of d_y^-n / sum_c d_c^-n with distances d that are not squared, n = 3."""

    def value(z: Tensor, prototypes: Tensor) -> Tensor:
        losses = []
        for point, label in zip(z, problem["label"].tolist(), strict=True):
            weight = [torch.linalg.vector_norm(point - prototype) ** -3 for prototype in prototypes]
            losses.append(-(weight[label] / sum(weight, torch.tensor(0.0))).log())
        return torch.stack(losses).mean()

    return with_gradients(value, problem, "z", "prototypes")


def error_rate(problem: Problem) -> tuple[Tensor, ...]:
    """Share of points whose largest logit is not their label's, by scikit-learn; constant almost everywhere."""
    predicted = F.linear(*(problem[name] for name in _CLASSIFIER)).numpy().argmax(1)
    value = zero_one_loss(problem["label"].numpy(), predicted)
    return (torch.tensor(value, dtype=torch.float64), *(torch.zeros_like(problem[name]) for name in _CLASSIFIER))


ORACLES: dict[str, Oracle] = {
    "cross_entropy": cross_entropy,
    "error_rate": error_rate,
    "harmonic": harmonic,
    "label_smoothing": label_smoothing,
    "masked_token": masked_token,
    "next_token": next_token,
    "squared_error": squared_error,
}
