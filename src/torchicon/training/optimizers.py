"""Optimizers and schedules by name."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from torchicon.training.config import TrainConfig


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD, AdamW or LARS over the trained weights. Biases, scales and normalizations have no weight decay."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    from pytorch_optimizer import LARS  # of the train extra, and slow to import

    return LARS(groups, lr=config.lr, momentum=config.momentum)


def make_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, iterations: int) -> LambdaLR:
    """The learning rate of every step, with the config's warm-up and schedule; to be stepped after every step."""
    steps_per_epoch = iterations / max(1, config.epochs)
    warmup = min(10.0, config.epochs / 10) if config.warmup_epochs is None else config.warmup_epochs
    return LambdaLR(
        optimizer,
        lambda t: factor_at(t, iterations, warmup=round(warmup * steps_per_epoch), schedule=config.schedule),
    )


def factor_at(t: int, iterations: int, *, warmup: int, schedule: Literal["cosine", "step", "constant"]) -> float:
    """The learning rate of step t as a share of the highest.

    Args:
        t: step, from 0.
        iterations: of the whole training.
        warmup: steps in which it rises linearly, reaching the highest with the first step after them.
        schedule: after the warm-up "cosine" falls to 0 at the end, "step" to a tenth after 60 % and to a hundredth
            after 80 % of the whole training, and "constant" does not fall.

    >>> [round(factor_at(t, 10, warmup=2, schedule="cosine"), 2) for t in (0, 1, 2, 6, 10)]
    [0.33, 0.67, 1.0, 0.5, 0.0]
    >>> [round(factor_at(t, 10, warmup=0, schedule="step"), 2) for t in (0, 5, 6, 8)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if t < warmup:
        return (t + 1) / (warmup + 1)
    done = (t - warmup) / max(1, iterations - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    if schedule == "step":
        return 0.1 ** ((t >= 0.6 * iterations) + (t >= 0.8 * iterations))
    return 1.0
