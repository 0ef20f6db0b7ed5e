"""The route of clustering with a graph: sparse p and cluster q, either or both debiased (theory 2.4, 5 and 6).

Along the edges it costs O(nnz c). A debiased p reaches every candidate, and the mean of log q over them is all pairs:
they are visited in tiles, half of them where q is symmetric.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchicon.core.cluster import Cluster
from torchicon.core.generic import Plan, Route, check_background, check_support
from torchicon.core.mixture import Mixture
from torchicon.core.numerics import block_bytes, safe_exp_times
from torchicon.core.rows import Rows
from torchicon.core.sparse import Sparse

_LIVE_NUMBERS = 8  # of an edge: its column, log p, log q, their terms and gradients


def base_of(rows: Rows) -> Rows:
    """What debiased rows debias; other rows themselves."""
    return rows.base if isinstance(rows, Mixture) else rows


def _mixing(rows: Rows) -> tuple[float, float]:
    """(a, b) with rows = a base + b wherever they have candidates."""
    return (1 - rows.alpha, math.exp(rows.log_uniform)) if isinstance(rows, Mixture) else (1.0, 0.0)


def _graph_cluster(p: Sparse | Mixture, q: Cluster | Mixture, with_entropy: bool) -> Tensor:
    graph, clusters = base_of(p), base_of(q)
    assert isinstance(graph, Sparse)
    assert isinstance(clusters, Cluster)
    log_q = clusters.log_at_edges(graph.indptr, graph.columns, *_mixing(q))
    _check_edges(p, q, graph, log_q)
    log_base = graph.log_p.to(log_q.dtype)
    listed = log_base != -math.inf
    log_p = torch.where(listed, p.mix(log_base), -math.inf) if isinstance(p, Mixture) else log_base
    terms = safe_exp_times(log_p, log_p - log_q if with_entropy else -log_q)
    if not isinstance(p, Mixture):
        return log_q.new_zeros(p.n).index_add(0, graph.anchor, terms)
    # The uniform part of p needs only the mean of log q; on the edges it is corrected to the full value.
    mean_log = clusters.mean_log_mixed(p.candidates, *_mixing(q))
    check_background(p, q, mean_log)
    log_uniform = p.log_uniform if with_entropy else 0.0
    counted = torch.where(listed, math.exp(p.log_uniform) * (log_uniform - torch.where(listed, log_q, 0.0)), 0.0)
    extra = log_q.new_zeros(p.n).index_add(0, graph.anchor, terms - counted)
    some = torch.zeros(p.n, dtype=torch.bool, device=listed.device).index_fill(0, graph.anchor[listed], True)
    return torch.where(some, extra + p.alpha * (log_uniform - mean_log), 0.0)


def _check_edges(p: Rows, q: Rows, graph: Sparse, log_q: Tensor) -> None:
    bad = (graph.log_p != -math.inf) & (log_q == -math.inf)
    if bad.any():
        e = int(bad.nonzero()[0])
        row = int(graph.anchor[e])
        column = graph.columns[e].view(1, 1)
        log_p = p.log_at(column, slice(row, row + 1))
        check_support(p, q, log_p, log_q[e].view(1, 1), column, slice(row, row + 1))


def _plan(p: Sparse | Mixture, q: Cluster | Mixture) -> Plan:
    graph, clusters = base_of(p), base_of(q)
    assert isinstance(graph, Sparse)
    assert isinstance(clusters, Cluster)
    of_edges = _LIVE_NUMBERS * len(graph.columns) * max(graph.dtype.itemsize, q.dtype.itemsize)
    if not isinstance(p, Mixture):
        return Plan(1, of_edges)
    tiling = clusters.tiling()
    tile = min(tiling.side, p.n) * min(tiling.side, p.m) * q.dtype.itemsize
    return Plan(len(tiling.tiles()), max(of_edges, tile + (tiling.kept_bytes(q.dtype.itemsize, block_bytes()) or tile)))


GRAPH_CLUSTER = Route("graph_cluster", _graph_cluster, _plan)
