"""What an oracle is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

Problem = Mapping[str, Tensor]
Pair = tuple[Tensor, Tensor]
# From named float64 tensors to the loss and its gradient with respect to each learned tensor in turn.
Oracle = Callable[[Problem], tuple[Tensor, ...]]
