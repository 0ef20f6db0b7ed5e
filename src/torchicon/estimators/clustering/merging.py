r"""From many small clusters to few: what the clusters know of the graph, merged away as little as possible.

With M the (K, K) share of edges between clusters and v its row sums, a partition keeps the information

    sum_c M_cc log(M_cc / v_c^2)   nats,

the diagonal of the mutual information between the cluster of a point and that of its neighbor: an information
bottleneck on the graph, and the I-Con objective of hard by-cluster rows up to the edges that leave a cluster.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from torchicon.estimators.clustering.graph import EdgeSample
from torchicon.estimators.clustering.heads import Heads

_LIKELIEST = 8  # clusters of a point that count: products of dense rows would cost K^2 an edge


def edge_shares(heads: Heads, x: Tensor, edges: EdgeSample) -> Tensor:
    """Share of edge mass between the clusters of each head, (H, K, K) on the CPU."""

    def of(head: int) -> Tensor:  # one at a time: the pieces of all heads at all points may not fit into memory
        likeliest = min(_LIKELIEST, heads.groups.shape[2])
        top = [phi[0].topk(likeliest) for _, phi in heads.pick([head]).blocks(x[edges.rows])]
        value, index = (torch.cat([block[part] for block in top]) for part in (0, 1))
        return shares(value, index, heads.groups.shape[2], edges)

    return torch.stack([of(head) for head in range(len(heads.groups))])


def shares(value: Tensor, index: Tensor, n_clusters: int, edges: EdgeSample) -> Tensor:
    """Share of edge mass between clusters, (K, K) float64, symmetric, of sum 1.

    value, index: (r, s) a few clusters of each row of ``edges`` and the row's probabilities of them.
    """
    r, s = value.shape
    parts = (value.double().cpu().numpy().ravel(), index.cpu().numpy().ravel(), np.arange(r + 1) * s)
    member = csr_array(parts, shape=(r, n_clusters))
    total = torch.from_numpy((member.T @ (edges.weight @ member)).toarray())
    return (total + total.T) / (2 * total.sum())


def label_information(labels: Tensor, n_clusters: int, edges: EdgeSample) -> float:
    """Nats of the graph that hard labels (r,) of the rows of ``edges`` keep."""
    share = shares(torch.ones_like(labels)[:, None], labels[:, None], n_clusters, edges)
    return float(information(share[None])[0])


def information(share: Tensor) -> Tensor:
    """Nats kept of the graph by each head, (H,), from shares (H, K, K)."""
    return _kept(share.diagonal(dim1=1, dim2=2), share.sum(2)).sum(1)


def merge(share: Tensor, n_clusters: int) -> Tensor:
    """Greedily merge the two clusters that lose the least information down to ``n_clusters``: (H, K, c) one-hot."""
    return torch.stack([_merge_one(each.clone(), n_clusters) for each in share])


def _merge_one(share: Tensor, n_clusters: int) -> Tensor:
    k = len(share)
    size = share.sum(1)
    gain = _gain(share, size, torch.arange(k, device=share.device))
    # Of each cluster's gains the largest and where: a merge changes few rows of k, and looks at no other.
    best, mate = gain.max(1)
    alive = torch.ones(k, dtype=torch.bool, device=share.device)
    label = torch.arange(k, device=share.device)
    for _ in range(k - n_clusters):
        into = int(best.argmax())
        gone = int(mate[into])
        into, gone = min(into, gone), max(into, gone)
        share[into] += share[gone]
        share[:, into] += share[:, gone]
        size[into] += size[gone]
        label[label == gone] = into
        alive[gone] = False
        # Only pairs with the merged cluster have another gain now.
        changed = _gain(share, size, torch.tensor([into], device=share.device))[0].masked_fill(~alive, -math.inf)
        gain[into], gain[:, into] = changed, changed
        gain[gone], gain[:, gone] = -math.inf, -math.inf
        stale = (mate == into) | (mate == gone)
        stale[into] = stale[gone] = True
        best = torch.where(changed > best, changed, best)
        mate = torch.where(changed == best, into, mate)
        best[stale], mate[stale] = gain[stale].max(1)
    return torch.nn.functional.one_hot(label, k)[:, alive].float()


def _gain(share: Tensor, size: Tensor, rows: Tensor) -> Tensor:
    """What is gained by merging each of these rows with each cluster, (r, K); never itself."""
    inside = share.diagonal()
    kept = _kept(inside, size)
    together = _kept(inside[rows, None] + inside + 2 * share[rows], size[rows, None] + size)
    gain = together - kept[rows, None] - kept
    gain[torch.arange(len(rows), device=rows.device), rows] = -math.inf
    return gain


def _kept(inside: Tensor, size: Tensor) -> Tensor:
    kept: Tensor = torch.special.xlogy(inside, inside / size.square().clamp_min(1e-30))
    return kept
