"""What an oracle is, and how most of them find their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Problem = Mapping[str, Tensor]
Pair = tuple[Tensor, Tensor]
# From named float64 tensors to the loss and its gradient with respect to each learned tensor in turn.
Oracle = Callable[[Problem], tuple[Tensor, ...]]


def with_gradients(value_of: Callable[..., Tensor], problem: Problem, *names: str) -> tuple[Tensor, ...]:
    """A loss of the named tensors, and its gradient with respect to each of them."""
    learned = [problem[name].clone().requires_grad_() for name in names]
    value = value_of(*learned)
    return (value.detach(), *torch.autograd.grad(value, learned))
