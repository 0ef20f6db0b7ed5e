"""The route of groups and a kernel, group by group: what SupCon and supervised clustering need of large classes.

Edges are not listed, and memory follows the points: within a group all pairs are scored in blocks, and again for the
gradient; outside it the normalizer is streamed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchicon.core.kernel import Kernel
from torchicon.core.members import Members
from torchicon.core.numerics import block_bytes
from torchicon.core.score import Score

_LIVE_BLOCKS = 5  # scores, the cells that count, shares, and two of what a score keeps for its gradient
_MOST_ROWS = 1024  # more leave the cache


def reaches(members: Members, q: Kernel) -> bool:
    """Whether the cells that q gives to a group are those of its members: q excludes self where they do."""
    own = (q.candidates.first or 0) if q.candidates.excludes_self else None
    return own == members.own


def peak_bytes(members: Members, q: Kernel) -> int:
    """Bytes alive in the block of the largest group."""
    largest = int(members.counts.max()) + 1
    return _rows_at_once(largest, q.dtype) * _bytes_per_row(largest, q.dtype)


def kl_within(members: Members, q: Kernel, *, with_entropy: bool) -> tuple[Tensor, Tensor]:
    """Of each anchor (n,): KL(p||q) among its members, or the cross-entropy; and the log-sum-exp of their scores.

    Both are 0 for an anchor without members.
    """
    with torch.autocast(q.anchors.device.type, enabled=False):
        found: tuple[Tensor, Tensor] = _Within.apply(  # type: ignore[no-untyped-call]
            q.anchors, q.keys, q.score, members, q.row_scale, with_entropy
        )
    return found


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        score: Score,
        members: Members,
        row_scale: Tensor | None,
        with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        within, inside = a.new_zeros(len(a)), a.new_zeros(len(a))
        for anchors, columns in _blocks(members, a.dtype):
            scores, listed = _scores(score, a, b, members, row_scale, anchors, columns)
            inside[anchors] = scores.logsumexp(1)
            count = members.counts[anchors, None].to(scores.dtype)
            log_share = scores.log_softmax(1)  # -log(count) to the last digit where all scores are equal
            excess = -log_share - count.log() if with_entropy else -log_share
            within[anchors] = torch.where(listed, excess, 0.0).sum(1) / count[:, 0]
        ctx.save_for_backward(a, b, row_scale, inside)
        ctx.score, ctx.members = score, members
        return within, inside

    @staticmethod
    def backward(ctx: Any, of_within: Tensor, of_inside: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "The divergence within groups has no second derivative. Drop create_graph=True, or write the rows "
                "down: Dense(q.log_at(None, slice(0, q.n)))."
            )
        a, b, row_scale, inside = ctx.saved_tensors
        grad_a, grad_b = torch.zeros_like(a), torch.zeros_like(b)
        with torch.autocast(a.device.type, enabled=False):
            for anchors, columns in _blocks(ctx.members, a.dtype):
                scores, listed = _scores(ctx.score, a, b, ctx.members, row_scale, anchors, columns)
                share = scores.sub_(inside[anchors, None]).exp_()
                uniform = 1.0 / ctx.members.counts[anchors, None].to(share.dtype)
                # The difference first: of a solved batch it is near 0, and what comes from outside may be smaller yet.
                weight = torch.where(listed, share - uniform, 0.0).mul_(of_within[anchors, None])
                weight.add_(share.mul_(of_inside[anchors, None]))
                if row_scale is not None:
                    weight.mul_(row_scale[anchors, None])
                of_a, of_b = ctx.score.pull_back(a[anchors], b[columns], weight)
                grad_a.index_add_(0, anchors, of_a)
                grad_b.index_add_(0, columns, of_b)
        return grad_a, grad_b, None, None, None, None


def _blocks(members: Members, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """Anchors (r,) of a block, all of one group, and its columns (b,)."""
    for anchors, columns in members.groups():
        for some in torch.split(anchors, _rows_at_once(len(columns), dtype)):
            yield some, columns


def _scores(
    score: Score,
    a: Tensor,
    b: Tensor,
    members: Members,
    row_scale: Tensor | None,
    anchors: Tensor,
    columns: Tensor,
) -> tuple[Tensor, Tensor]:
    """Scores (r, b), -inf at an own cell that does not count, and which cells count."""
    scores = score.pairwise(a[anchors], b[columns])
    if row_scale is not None:
        scores = scores * row_scale[anchors, None]
    if members.own is None:
        return scores, torch.ones_like(scores, dtype=torch.bool)
    own = columns == (anchors + members.own)[:, None]
    return scores.masked_fill_(own, -math.inf), ~own


def _bytes_per_row(columns: int, dtype: torch.dtype) -> int:
    return _LIVE_BLOCKS * max(1, columns) * dtype.itemsize


def _rows_at_once(columns: int, dtype: torch.dtype) -> int:
    return max(1, min(_MOST_ROWS, block_bytes() // _bytes_per_row(columns, dtype)))
