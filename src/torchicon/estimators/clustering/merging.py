r"""From many small clusters to few: what the clusters know of the graph, merged away as little as possible.

With M the (K, K) share of edges between clusters and v its row sums, a partition keeps the information

    sum_c M_cc log(M_cc / v_c^2)   nats,

the diagonal of the mutual information between the cluster of a point and that of its neighbor: an information
bottleneck on the graph, and the I-Con objective of hard by-cluster rows up to the edges that leave a cluster.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchicon.estimators.clustering.heads import Heads

_BLOCK = 8192


def edge_shares(heads: Heads, x: Tensor, edges: tuple[Tensor, Tensor, Tensor], *, hard: bool = False) -> Tensor:
    """Share of edge mass between clusters, (H, K, K), symmetric, of sum 1; ``hard`` takes the likeliest cluster."""

    def of(head: int) -> Tensor:  # one at a time: the pieces of all heads at all points may not fit into memory
        phi = heads.pick([head]).probabilities(x)
        if hard:
            phi = torch.nn.functional.one_hot(phi.argmax(-1), phi.shape[-1]).float()
        return shares(phi, edges)

    return torch.cat([of(head) for head in range(len(heads.groups))])


def shares(phi: Tensor, edges: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The same from cluster probabilities (H, n, K)."""
    anchor, column, weight = edges
    total = phi.new_zeros(phi.shape[0], phi.shape[2], phi.shape[2])
    for rows in torch.split(torch.arange(len(anchor)), _BLOCK):
        from_anchor = phi[:, anchor[rows]] * weight[rows, None]
        total += from_anchor.transpose(1, 2) @ phi[:, column[rows]]
    total = total / total.sum((1, 2), keepdim=True)
    return 0.5 * (total + total.transpose(1, 2))


def information(share: Tensor) -> Tensor:
    """Nats kept of the graph by each head, (H,), from shares (H, K, K)."""
    return _kept(share.diagonal(dim1=1, dim2=2), share.sum(2)).sum(1)


def merge(share: Tensor, n_clusters: int) -> Tensor:
    """Greedily merge the two clusters that lose the least information down to ``n_clusters``: (H, K, c) one-hot."""
    return torch.stack([_merge_one(each.clone(), n_clusters) for each in share])


def _merge_one(share: Tensor, n_clusters: int) -> Tensor:
    k = len(share)
    size = share.sum(1)
    gain = _gain(share, size, torch.arange(k))
    groups, alive = torch.eye(k), torch.ones(k, dtype=torch.bool)
    for _ in range(k - n_clusters):
        best = int(gain.argmax())
        into, gone = best // k, best % k
        share[into] += share[gone]
        share[:, into] += share[:, gone]
        size[into] += size[gone]
        groups[:, into] += groups[:, gone]
        alive[gone] = False
        # Only pairs with the merged cluster have another gain now.
        changed = _gain(share, size, torch.tensor([into]))[0].masked_fill(~alive, -math.inf)
        gain[into], gain[:, into] = changed, changed
        gain[gone], gain[:, gone] = -math.inf, -math.inf
    return groups[:, alive]


def _gain(share: Tensor, size: Tensor, rows: Tensor) -> Tensor:
    """What is gained by merging each of these rows with each cluster, (r, K); never itself."""
    inside = share.diagonal()
    kept = _kept(inside, size)
    together = _kept(inside[rows, None] + inside + 2 * share[rows], size[rows, None] + size)
    gain = together - kept[rows, None] - kept
    gain[torch.arange(len(rows)), rows] = -math.inf
    return gain


def _kept(inside: Tensor, size: Tensor) -> Tensor:
    kept: Tensor = torch.special.xlogy(inside, inside / size.square().clamp_min(1e-30))
    return kept
