r"""One problem on many processes: each computes the rows of its own anchors over the points of all.

In a process group of torch.distributed the points of a batch are spread over the ranks. A rank computes the rows of its
own points, over everyone's: with gradients that find their way back to every rank, and self excluded where it stands
among *all* points. Without a process group, or with one rank, everything here is the identity, so the same lines train
on one device and on many:

>>> from torchicon import Cosine, Positives, objective
>>> image = torch.tensor([0, 1, 0, 1])  # this rank's views: the images they are of,
>>> z = torch.eye(2)[image].requires_grad_()  # and what the encoder made of them; other ranks may have more or fewer
>>> everyone = gather(z)
>>> q = Cosine(0.5)(z, everyone.rows, candidates=everyone.others)
>>> p = Positives()(image, gather(image).rows, candidates=everyone.others)
>>> loss = objective(p, q, weights=mean_over_ranks(p))
>>> loss.backward()  # through an encoder wrapped in DistributedDataParallel

Then the gradient of every parameter is that of one process with the whole batch, and so is the loss when it is averaged
over the ranks, as loggers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from torchicon.core.candidates import Candidates
from torchicon.core.errors import CandidatesError
from torchicon.core.numerics import at_least_float32
from torchicon.core.rows import Rows

# Ranks tell each other their dtype by its place in this list.
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32)


@dataclass(frozen=True, eq=False)
class Gathered:
    """The rows of all ranks, in order of rank, and where this rank's are among them.

    Args:
        rows: (m, d), or (m,) for labels.
        first: the row that is this rank's first.
        name: what the rows are, as in `Candidates`.
    """

    rows: Tensor
    first: int = 0
    name: str = "points"

    @property
    def others(self) -> Candidates:
        """All rows as the columns of this rank's anchors, each without itself: contrastive learning."""
        return Candidates.others(len(self.rows), self.name, first=self.first)

    @property
    def all(self) -> Candidates:
        """All rows as the columns of this rank's anchors: another modality (CLIP), or clusters, which include self."""
        return Candidates.all(len(self.rows), self.name, first=self.first)


def gather(x: Tensor, *, name: str = "points", group: dist.ProcessGroup | None = None) -> Gathered:
    r"""The rows of all ranks, differentiably. Every rank of the group must call it, and in the same order.

    The backward pass adds up what all ranks' losses say of a row and hands the sum to the rank that made it: the
    gradient of the *sum* of the ranks' losses. `mean_over_ranks` makes of that sum the mean over all anchors. A second
    derivative is refused. The marginal term of `joint_kl` is not a sum over anchors: jointly normalized losses need
    their points in one process.

    Args:
        x: (n, d) this rank's points, or (n,) integers such as labels. The number n may differ between ranks and be 0.
        name: what the rows are, as in `Candidates`.
        group: the ranks that share the problem, all when omitted; it should be those DDP averages over, or a part.

    Raises:
        ValueError: x is no vector or matrix of a type that can be sent.
        CandidatesError: the ranks disagree on d, on the dtype, or on whether x has a gradient; raised on all of them,
            where a backward pass would wait forever for the missing rank.

    >>> import torch
    >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> everyone = gather(z)  # one process: the identity
    >>> everyone.rows is z, everyone.others
    (True, Candidates(3 points, self excluded, anchor 0 is column 0))
    """
    if x.ndim not in (1, 2) or x.dtype not in _DTYPES:
        raise ValueError(f"Points (n, d) or labels (n,) can be gathered, got {x.dtype} of shape {tuple(x.shape)}.")
    if _ranks(group) == 1:
        return Gathered(x, name=name)
    sizes = _agreed_sizes(x, group)
    rows: Tensor = _AllGather.apply(x, sizes, group)  # type: ignore[no-untyped-call]
    return Gathered(rows, sum(sizes[: dist.get_rank(group)]), name)


def mean_over_ranks(p: Rows, *, group: dist.ProcessGroup | None = None) -> Tensor:
    r"""Weights (n,) for `objective` that make it the mean over all ranks' anchors that have a neighbor.

    With W ranks and N such anchors each weighs W / N, since DistributedDataParallel (and FullyShardedDataParallel)
    average the ranks' gradients: the average of the W losses, and of their gradients, is exactly the mean over the N
    anchors. A rank's own mean is that only where all ranks have as many anchors with a neighbor. Where gradients are
    *summed* over the ranks instead, divide by W.

    Args:
        p: this rank's rows; the first neighborhood of the divergence, whose empty rows do not count.
        group: as in `gather`.

    Raises:
        ValueError: no anchor of any rank has a neighbor; on all ranks.

    >>> from torchicon.core import Dense, objective
    >>> p, q = Dense.uniform(4), Dense.uniform(4)
    >>> mean_over_ranks(p)  # one process: objective(p, q, weights="mean")
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    anchors = (~p.empty_anchors()).sum()
    ranks = _ranks(group)
    if ranks > 1:
        dist.all_reduce(anchors, group=group)
    if int(anchors) == 0:
        raise ValueError("No anchor of any rank has a neighbor: every row of p is empty, so there is nothing to learn.")
    return torch.full((p.n,), ranks / int(anchors), dtype=p.dtype, device=anchors.device)


def _ranks(group: dist.ProcessGroup | None) -> int:
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def _agreed_sizes(x: Tensor, group: dist.ProcessGroup | None) -> list[int]:
    """Number of rows of each rank, or one error on all ranks: one alone in its error would leave the others waiting."""
    columns = x.shape[1] if x.ndim == 2 else -1
    learned = x.requires_grad and torch.is_grad_enabled()
    mine = torch.tensor([len(x), columns, _DTYPES.index(x.dtype), learned], device=x.device)
    everyone = [torch.empty_like(mine) for _ in range(_ranks(group))]
    dist.all_gather(everyone, mine, group=group)
    seen = torch.stack(everyone).tolist()
    if len({tuple(rest) for _, *rest in seen}) > 1:
        ranks = "; ".join(f"rank {rank}: {_words(*what)}" for rank, what in enumerate(seen))
        raise CandidatesError(
            "Gathered rows are columns of one problem: every rank must give the same dimensions and dtype, and all or "
            f"none a gradient, got {ranks}."
        )
    return [n for n, *_ in seen]


def _words(n: int, columns: int, dtype: int, learned: int) -> str:
    shape = f"({n},)" if columns < 0 else f"({n}, {columns})"
    return f"{_DTYPES[dtype]} {shape} with{'' if learned else 'out'} gradient"


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: dist.ProcessGroup | None) -> Tensor:
        ctx.sizes, ctx.group, ctx.dtype = sizes, group, x.dtype
        # Not every backend sends unequal parts: all send the longest, and what was added is cut off again.
        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=group)
        return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rank = dist.get_rank(ctx.group)
        first = sum(ctx.sizes[:rank])
        # Summed in float32 or better, and in a copy, since autograd may hand the same gradient to others.
        total = at_least_float32(grad).clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total[first : first + ctx.sizes[rank]].to(ctx.dtype), None, None
