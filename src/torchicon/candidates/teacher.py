"""A slowly moving copy of an encoder, which makes the candidates while the encoder itself makes the anchors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn


@final
class EMATeacher(nn.Module):
    r"""Exponential moving average of a module's weights, $\theta_k \leftarrow m\,\theta_k + (1-m)\,\theta_q$.

    The key encoder of MoCo, the teacher of DINO and BYOL (theory 2.2 and 5). It starts as a copy, gives no gradient,
    and is moved by `update` after each step of the optimizer. Buffers, such as the statistics of batch normalization,
    are copied, not averaged.

    Like any module it follows ``train()`` and ``eval()``. In training mode batch normalization uses the statistics of
    the teacher's own batch, as in MoCo and DINO; call ``eval()`` on it to use the student's running ones, and to switch
    off dropout.

    Args:
        student: the module to follow; copied, not kept.
        momentum: m in [0, 1], or a function from the number of updates so far to it, such as a cosine schedule.

    Attributes:
        module: the copy.
        updates: how many updates there were; with the weights in the ``state_dict``.

    Raises:
        ValueError: a momentum outside [0, 1]; in an update, a module of another shape.

    >>> student = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(student.weight, 1.0)
    >>> teacher = EMATeacher(student, 0.75)
    >>> _ = nn.init.constant_(student.weight, 5.0)
    >>> teacher.update(student)
    >>> teacher(torch.ones(1, 1))
    tensor([[2.]])
    """

    updates: Tensor

    def __init__(self, student: nn.Module, momentum: float | Callable[[int], float]) -> None:
        super().__init__()
        self.module = copy.deepcopy(student).requires_grad_(False)
        self.momentum = momentum
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        if not callable(momentum):
            self._momentum()  # refuse a wrong one now

    def _momentum(self) -> float:
        m = self.momentum(int(self.updates)) if callable(self.momentum) else self.momentum
        if not 0 <= m <= 1:
            raise ValueError(f"The momentum must lie in [0, 1], got {m}.")
        return m

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy gives, without a gradient."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student. Call it after the optimizer's step."""
        m = self._momentum()
        weights, buffers = _matched(self.module, student, "parameters"), _matched(self.module, student, "buffers")
        for own, new in weights:
            own.lerp_(new.to(own), 1 - m)
        for own, new in buffers:
            own.copy_(new)
        self.updates += 1


def _matched(teacher: nn.Module, student: nn.Module, kind: str) -> list[tuple[Tensor, Tensor]]:
    """Tensors of both, side by side."""
    own, new = (dict(getattr(module, f"named_{kind}")()) for module in (teacher, student))
    shapes, others = ({name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (own, new))
    if shapes != others:
        different = sorted(name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name))
        raise ValueError(f"Teacher and student must be the same module, but differ in their {kind} {different}.")
    return [(own[name], new[name]) for name in own]
