"""Batch normalization over the batch of all ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from torchicon.training.step import world_size

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def synchronize(module: nn.Module) -> None:
    """Let every batch normalization below a module use the statistics of all ranks, on any device."""
    for name, child in module.named_children():
        if isinstance(child, BatchNorm):
            setattr(module, name, SynchronizedBatchNorm(child))
        else:
            synchronize(child)


class SynchronizedBatchNorm(nn.Module):
    """A batch normalization whose mean and variance are those of the batch of all ranks.

    torch's SyncBatchNorm runs on accelerators only. This one is made of differentiable sums over the ranks, so that a
    training on several processes can be checked, and done, without any. Weights and buffers keep their names.

    Args:
        norm: whose weights, running statistics and mode it takes over.

    >>> norm = nn.BatchNorm1d(2)
    >>> x = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    >>> bool(torch.allclose(SynchronizedBatchNorm(norm)(x), norm(x)))
    True
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalized over all but the channels, (b, c) or (b, c, ...)."""
        if not self.training and self.running_mean is not None:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        over = (0, *range(2, x.ndim))
        shape = (1, -1, *(1,) * (x.ndim - 2))
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = _total(wide.new_tensor(x.numel() / x.shape[1]))
        mean = _total(wide.sum(over)) / count
        centered = wide - mean.reshape(shape)  # two passes: the mean square would cancel
        var = _total(centered.square().sum(over)) / count
        self._remember(mean.detach(), var.detach() * count / (count - 1))
        out = centered * (var + self.eps).rsqrt().reshape(shape)
        if self.weight is not None:
            out = out * self.weight.reshape(shape) + self.bias.reshape(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        count = self.num_batches_tracked.to(self.running_mean)  # no number: the device would have to be waited for
        share = 1 / count if self.momentum is None else torch.full_like(count, self.momentum)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(var.to(self.running_var), share)


def _total(x: Tensor) -> Tensor:
    """The sum over the ranks, with gradients: of the sum of the ranks' losses, which DDP makes a mean."""
    if world_size() == 1:
        return x
    total: Tensor = _AllReduce.apply(x)  # type: ignore[no-untyped-call]
    return total


class _AllReduce(torch.autograd.Function):
    """The one of torch.distributed.nn is deprecated, and a break in what torch.compile makes."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)  # autograd may hand the same gradient to others
        dist.all_reduce(total)
        return total
