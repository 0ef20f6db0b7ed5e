"""What a route is, and the generic one, which every pair of structures can take.

It needs only `Rows.support` and `Rows.log_at`; it is correct for every pair and the reference for the fast ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchicon.core.errors import SupportError
from torchicon.core.numerics import block_bytes, map_row_blocks, row_blocks, safe_exp_times
from torchicon.core.rows import Rows


@dataclass(frozen=True)
class Plan:
    """What a route will hold at once: number of blocks it visits and bytes of intermediates in the largest."""

    blocks: int
    peak_bytes: int


@dataclass(frozen=True)
class Route:
    """A way to compute sum_j p_ij (log p_ij - log q_ij), or without its log p (the cross-entropy), per anchor.

    run: called as ``run(p, q, with_entropy)``; returns (n,), zero for an empty row, and raises SupportError.
    plan: called as ``plan(p, q)``.
    """

    name: str
    run: Callable[[Any, Any, bool], Tensor]
    plan: Callable[[Any, Any], Plan]


def check_support(p: Rows, q: Rows, log_p: Tensor, log_q: Tensor, columns: Tensor | None, rows: slice) -> None:
    """Refuse mass of p where q has none, by name: the divergence is infinite and never becomes an epsilon."""
    bad = (log_p > -math.inf) & (log_q == -math.inf)
    if not bad.any():
        return
    b, s = (int(v) for v in bad.nonzero()[0])
    column = s if columns is None else int(columns[b, s])
    raise SupportError(
        f"KL is infinite: p[{rows.start + b}, {column}] = {log_p[b, s].exp():.2g} but "
        f"q[{rows.start + b}, {column}] = 0. p ranges over {p.candidates}, q over {q.candidates}. "
        "Leave that candidate out of p, or debias q."
    )


def bytes_of_support(p: Rows, q: Rows) -> int:
    """Bytes alive while one row of q is evaluated on the support of p."""
    gathered = p.width() < p.m
    return p.bytes_per_row(p.width(), gathered=gathered) + q.bytes_per_row(p.width(), gathered=gathered)


def check_background(p: Rows, q: Rows, mean_log: Tensor) -> None:
    """`check_support` for p that reaches all its candidates, where the mean of log q over them (n,) is infinite."""
    for row in (mean_log == -math.inf).nonzero()[:, 0].tolist():
        rows = slice(row, row + 1)
        if not bool(p.empty(rows)):
            check_support(p, q, p.log_at(None, rows), q.log_at(None, rows), None, rows)


def _generic(p: Rows, q: Rows, with_entropy: bool) -> Tensor:
    p.prepare()
    q.prepare()

    def block(rows: slice) -> Tensor:
        columns, log_p = p.support(rows)
        log_q = q.log_at(columns, rows)
        check_support(p, q, log_p, log_q, columns, rows)
        log_p = log_p.to(log_q.dtype)
        # Termwise, not as a difference of sums: that would cancel when p is near q.
        return safe_exp_times(log_p, log_p - log_q if with_entropy else -log_q).sum(-1)

    return map_row_blocks(block, p.n, bytes_of_support(p, q))


def _plan_generic(p: Rows, q: Rows) -> Plan:
    per_row = bytes_of_support(p, q)
    return Plan(len(row_blocks(p.n, per_row)), min(per_row * p.n, max(per_row, block_bytes())))


GENERIC = Route("generic", _generic, _plan_generic)
