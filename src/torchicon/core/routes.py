"""Routes: how a divergence between two structures is computed. One closed table of exact types."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchicon.core.cluster import Cluster
from torchicon.core.cluster_cross import CLUSTER_KERNEL, CLUSTER_RAISED
from torchicon.core.dense import Dense
from torchicon.core.errors import RouteError
from torchicon.core.generic import GENERIC as GENERIC
from torchicon.core.generic import Plan as Plan
from torchicon.core.generic import Route as Route
from torchicon.core.generic import bytes_of_support as bytes_of_support
from torchicon.core.generic import check_background
from torchicon.core.generic import check_support as check_support
from torchicon.core.graph_cluster import GRAPH_CLUSTER, base_of
from torchicon.core.grouped import kl_within, peak_bytes, reaches
from torchicon.core.kernel import Kernel
from torchicon.core.mixture import Mixture
from torchicon.core.numerics import block_bytes, map_row_blocks, row_blocks, safe_exp_times
from torchicon.core.raised import Raised
from torchicon.core.rows import Rows
from torchicon.core.sparse import Sparse


def _sparse_kernel(p: Sparse, q: Kernel, with_entropy: bool) -> Tensor:
    r"""With S the support of p_i: KL(p||q) = KL(p||q|_S) + softplus(log sum_{not S} e^s - log sum_S e^s) (theory 4b).

    Both terms are nonnegative, so a nearly solved row keeps its digits where ``lse - s`` would cancel.
    """
    if by_group(p, q):
        assert p.members is not None
        within, inside = kl_within(p.members, q, with_entropy=with_entropy)
        outside = torch.nn.functional.softplus(q.log_normalizer(excluding=p.members) - inside, threshold=40.0)
        return torch.where(p.empty_anchors(), 0.0, within + outside)
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


def by_group(p: Sparse, q: Kernel) -> bool:
    """Whether p is of groups so large that its edges are better not listed."""
    return p.members is not None and reaches(p.members, q) and p.members.many


def _plan_sparse_kernel(p: Sparse, q: Kernel) -> Plan:
    grouped = p.members if by_group(p, q) else None
    tiling = q.tiling(grouped or (p.anchor, p.columns))
    tile_bytes = 4 * min(tiling.side, p.n) * min(tiling.side, p.m) * q.dtype.itemsize
    of_tiles = tile_bytes + tiling.kept_scores(q.dtype.itemsize)
    of_support = GENERIC.plan(p, q).peak_bytes if grouped is None else peak_bytes(grouped, q)
    return Plan(len(tiling.tiles()), max(of_tiles, of_support))


def _mixture_any(p: Mixture, q: Rows, with_entropy: bool) -> Tensor:
    """The uniform part of p needs only the mean of log q; the base's support is corrected to the full value."""
    if p.base.width() == p.m or (q.candidates.excludes_self and not p.candidates.excludes_self):
        # Nothing to gain where the base lists every cell; and an infinite value gets its error, since p reaches self.
        return GENERIC.run(p, q, with_entropy)
    q.prepare()
    p.prepare()
    mean_log = q.mean_log(p.candidates)  # which may lack the self that q has
    check_background(p, q, mean_log)
    background = -mean_log
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


def _plan_mixture_any(p: Mixture, q: Rows) -> Plan:
    per_row = q.bytes_per_row(q.m, gathered=False)
    return Plan(len(row_blocks(q.n, per_row)), min(per_row * q.n, max(per_row, block_bytes())))


_MIXTURE = Route("mixture_any", _mixture_any, _plan_mixture_any)

# Exact types, never subclasses: a pair that is not listed takes the generic route.
ROUTES: dict[tuple[type[Rows], type[Rows]], Route] = {
    (Sparse, Kernel): Route("sparse_kernel", _sparse_kernel, _plan_sparse_kernel),
    (Mixture, Dense): _MIXTURE,
    (Mixture, Kernel): _MIXTURE,
    (Mixture, Cluster): _MIXTURE,
    (Mixture, Mixture): _MIXTURE,
    (Cluster, Kernel): CLUSTER_KERNEL,
    (Cluster, Raised): CLUSTER_RAISED,
}

# Pairs whose route takes either or both of them debiased as well; looked up first.
DEBIASED_ROUTES: dict[tuple[type[Rows], type[Rows]], Route] = {(Sparse, Cluster): GRAPH_CLUSTER}


def route_of(p: Rows, q: Rows) -> Route:
    """The route that a divergence of p and q takes."""
    bases = type(base_of(p)), type(base_of(q))
    return DEBIASED_ROUTES.get(bases) or ROUTES.get((type(p), type(q)), GENERIC)


def register_route(p_type: type[Rows], q_type: type[Rows], route: Route) -> None:
    """Give a pair of structures a route of its own.

    Raises:
        RouteError: the pair has a route already, or one of the two is not a Rows type.
    """
    for kind in (p_type, q_type):
        if not (isinstance(kind, type) and issubclass(kind, Rows)):
            raise RouteError(f"A route is for two Rows types, got {kind!r}.")
    taken = DEBIASED_ROUTES.get((p_type, q_type)) or ROUTES.get((p_type, q_type))
    if taken is not None:
        raise RouteError(f"({p_type.__name__}, {q_type.__name__}) already takes the route {taken.name}.")
    ROUTES[p_type, q_type] = route
