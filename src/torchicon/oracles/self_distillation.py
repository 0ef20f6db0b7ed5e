"""DINO after its authors' code, BYOL by its printed loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Pair, Problem


def dino(problem: Problem) -> tuple[Tensor, ...]:
    """Caron et al. 2021, Algorithm 1 with multi-crop: cross-entropies of different views, one pair after another."""
    z, prototypes = (problem[name].clone().requires_grad_() for name in ("z", "prototypes"))
    student = F.linear(F.normalize(z, dim=1), F.normalize(prototypes, dim=1)) / 0.1
    teacher = F.softmax((problem["teacher"] - problem["center"]) / 0.04, dim=1)
    crops, globals_ = student.chunk(3), teacher.chunk(2)
    losses = [
        -(globals_[t] * F.log_softmax(crops[s], dim=1)).sum(1).mean() for t in range(2) for s in range(3) if s != t
    ]
    value = torch.stack(losses).mean()
    return (value.detach(), *torch.autograd.grad(value, (z, prototypes)))


def byol(problem: Problem) -> Pair:
    """Grill et al. 2020, eq. 2: 2 - 2 cos(prediction, target), in one direction, as a mean."""
    z, target = problem["z"].clone().requires_grad_(), problem["lattice"][problem["target"]]
    value = (2 - 2 * F.cosine_similarity(z, target, dim=1)).mean()
    return value.detach(), torch.autograd.grad(value, z)[0]


ORACLES: dict[str, Oracle] = {"byol": byol, "dino": dino}
