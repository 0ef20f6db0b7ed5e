"""Routes: how a divergence between two structures is computed. One closed table of exact types, and a generic route.

The generic route needs only `Rows.support` and `Rows.log_at`; it is correct for every pair and the reference for the
fast ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchicon.core.cluster import Cluster
from torchicon.core.dense import Dense
from torchicon.core.errors import RouteError, SupportError
from torchicon.core.kernel import Kernel
from torchicon.core.mixture import Mixture
from torchicon.core.numerics import block_bytes, map_row_blocks, row_blocks, safe_exp_times
from torchicon.core.rows import Rows
from torchicon.core.sparse import Sparse


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


def _sparse_kernel(p: Sparse, q: Kernel, with_entropy: bool) -> Tensor:
    r"""With S the support of p_i: KL(p||q) = KL(p||q|_S) + softplus(log sum_{not S} e^s - log sum_S e^s) (theory 4b).

    Both terms are nonnegative, so a nearly solved row keeps its digits where ``lse - s`` would cancel.
    """
    mass = p.log_p != -math.inf
    log_rest = q.log_normalizer(excluding=(p.anchor[mass], p.columns[mass]))

    def block(rows: slice) -> Tensor:
        columns, log_p = p.support(rows)
        scores = q.score_at(columns, rows)
        check_support(p, q, log_p, scores, columns, rows)
        log_p = log_p.to(scores.dtype)
        listed = log_p != -math.inf
        empty = ~listed.any(-1, keepdim=True)
        # An empty row sums over padding of score 0 instead of nothing, and is dropped below.
        inside = torch.where(listed, scores, torch.where(empty, 0.0, -math.inf))
        entropy_term = log_p if with_entropy else torch.zeros_like(log_p)
        # The sum over S is taken twice: its gradients, near 1 here and near 0 there, would cancel if they met in one.
        within = safe_exp_times(log_p, entropy_term - inside.log_softmax(-1)).sum(-1)
        # Above its threshold softplus is the identity; the usual 20 is off by 2e-9, which float64 would show.
        outside = torch.nn.functional.softplus(log_rest[rows] - inside.logsumexp(-1), threshold=40.0)
        return torch.where(empty[:, 0], 0.0, within + outside)

    return map_row_blocks(block, p.n, bytes_of_support(p, q))


def _plan_sparse_kernel(p: Sparse, q: Kernel) -> Plan:
    tiling = q.tiling((p.anchor, p.columns))
    tile_bytes = 4 * min(tiling.side, p.n) * min(tiling.side, p.m) * q.dtype.itemsize
    return Plan(len(tiling.tiles()), max(tile_bytes, _plan_generic(p, q).peak_bytes))


def _mixture_any(p: Mixture, q: Rows, with_entropy: bool) -> Tensor:
    """The uniform part of p needs only the mean of log q; the base's support is corrected to the full value."""
    if p.base.width() == p.m or (q.candidates.excludes_self and not p.candidates.excludes_self):
        # Nothing to gain where the base lists every cell; and an infinite value gets its error, since p reaches self.
        return _generic(p, q, with_entropy)
    q.prepare()
    p.prepare()
    background = -_mean_log_over(p, q)
    if with_entropy:
        background = background + p.log_uniform
    uniform = math.exp(p.log_uniform)

    def correction(rows: slice) -> Tensor:
        columns, log_base = p.base.support(rows)
        log_q = q.log_at(columns, rows)
        check_support(p, q, log_base, log_q, columns, rows)
        log_base = log_base.to(log_q.dtype)
        listed = log_base != -math.inf
        log_p = torch.where(listed, p.mix(log_base), -math.inf)
        full = safe_exp_times(log_p, log_p - log_q if with_entropy else -log_q)
        counted = uniform * (p.log_uniform - log_q if with_entropy else -log_q)
        extra = full - torch.where(listed, counted, 0.0)
        return torch.where(p.empty(rows), 0.0, extra.sum(-1) + p.alpha * background[rows])

    return map_row_blocks(correction, p.n, bytes_of_support(p.base, q))


def _mean_log_over(p: Mixture, q: Rows) -> Tensor:
    """Mean of log q over p's candidates, (n,), which may lack the self that q has."""
    mean_log = q.mean_log(p.candidates)
    for row in (mean_log == -math.inf).nonzero()[:, 0].tolist():
        rows = slice(row, row + 1)
        if not bool(p.empty(rows)):
            check_support(p, q, p.log_at(None, rows), q.log_at(None, rows), None, rows)
    return mean_log


def _plan_mixture_any(p: Mixture, q: Rows) -> Plan:
    per_row = q.bytes_per_row(q.m, gathered=False)
    return Plan(len(row_blocks(q.n, per_row)), min(per_row * q.n, max(per_row, block_bytes())))


GENERIC = Route("generic", _generic, _plan_generic)
_MIXTURE = Route("mixture_any", _mixture_any, _plan_mixture_any)

# Exact types, never subclasses: a pair that is not listed takes the generic route.
ROUTES: dict[tuple[type[Rows], type[Rows]], Route] = {
    (Sparse, Kernel): Route("sparse_kernel", _sparse_kernel, _plan_sparse_kernel),
    (Mixture, Dense): _MIXTURE,
    (Mixture, Kernel): _MIXTURE,
    (Mixture, Cluster): _MIXTURE,
    (Mixture, Mixture): _MIXTURE,
}


def route_of(p: Rows, q: Rows) -> Route:
    """The route that a divergence of p and q takes."""
    return ROUTES.get((type(p), type(q)), GENERIC)


def register_route(p_type: type[Rows], q_type: type[Rows], route: Route) -> None:
    """Give a pair of structures a route of its own.

    Raises:
        RouteError: the pair has a route already, or one of the two is not a Rows type.
    """
    for kind in (p_type, q_type):
        if not (isinstance(kind, type) and issubclass(kind, Rows)):
            raise RouteError(f"A route is for two Rows types, got {kind!r}.")
    if (p_type, q_type) in ROUTES:
        taken = ROUTES[p_type, q_type].name
        raise RouteError(f"({p_type.__name__}, {q_type.__name__}) already takes the route {taken}.")
    ROUTES[p_type, q_type] = route
