"""A queue of keys: the negatives of the last few batches."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from torchicon.candidates._checks import require_features, require_size


@final
class Queue(nn.Module):
    """The last ``size`` keys, first in first out (He et al. 2020, MoCo). They carry no gradient.

    Args:
        size: keys kept.
        d: dimensions.
        dtype: of the keys.

    >>> queue = Queue(3, 1)
    >>> queue.push(torch.tensor([[1.0], [2.0]]))
    >>> len(queue)
    2
    >>> queue.push(torch.tensor([[3.0], [4.0]]))
    >>> queue.rows[:, 0]
    tensor([4., 2., 3.])
    """

    slots: Tensor
    pushed: Tensor

    def __init__(self, size: int, d: int, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        require_size("size", size)
        require_size("d", d)
        self.register_buffer("slots", torch.zeros(size, d, dtype=dtype))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    @property
    def rows(self) -> Tensor:
        """The keys there are, (len(self), d), in no order that matters; a copy, which later pushes leave alone."""
        return self.slots[: len(self)].clone()

    def __len__(self) -> int:
        """Number of keys: ``size`` once so many were pushed."""
        return min(int(self.pushed), len(self.slots))

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Add keys (b, d), after the loss that contrasts with the old ones; of more than ``size`` the last stay.

        Raises:
            ValueError: features that are not finite or not (b, d).
        """
        size, d = self.slots.shape
        require_features(features, d, "the queue")
        first = int(self.pushed) + max(0, len(features) - size)
        last = int(self.pushed) + len(features)
        slot = torch.arange(first, last, device=self.slots.device) % size
        self.slots[slot] = features[-size:].detach().to(self.slots)
        self.pushed += len(features)

    def extra_repr(self) -> str:
        """Size."""
        return f"{self.slots.shape[0]}, {self.slots.shape[1]}"
