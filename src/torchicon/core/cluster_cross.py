r"""Cross-entropies of the reverse direction, $\mathrm{CE}(q_i \| p_i)$ of cluster q: K-Means and normalized cuts.

The sum over j goes through the clusters, $\sum_j q_{ij} s_{ij} = \sum_c l_{ic} \sum_j r_{jc} s_{ij}$: in O(n c d) for
scores with moments (theory 4e), along the edges for a graph (theory 4d). The entropy of q in the KL needs all pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.core.cluster import Cluster
from torchicon.core.generic import GENERIC, Route
from torchicon.core.kernel import Kernel
from torchicon.core.low_rank import edge_products
from torchicon.core.raised import Raised


def _cluster_kernel(p: Cluster, q: Kernel, with_entropy: bool) -> Tensor:
    if with_entropy or q.candidates.excludes_self:  # an infinite value, unless p has no mass on self
        return GENERIC.run(p, q, with_entropy)
    with torch.autocast(q.anchors.device.type, enabled=False):
        of_clusters = q.score.weighted_pairwise(q.anchors, q.keys, p.right.to(q.dtype))
        if of_clusters is None:
            return GENERIC.run(p, q, with_entropy)
        score = (p.left * of_clusters).sum(1)
    return _mass(p) * q.log_normalizer() - (score if q.row_scale is None else score * q.row_scale)


def _cluster_raised(p: Cluster, q: Raised, with_entropy: bool) -> Tensor:
    if with_entropy or q.candidates.excludes_self:
        return GENERIC.run(p, q, with_entropy)
    score = edge_products(p.left, p.right, q.graph.indptr, q.graph.columns) * q.scores()
    return (_mass(p) * q.log_normalizer).index_add(0, q.graph.anchor, -score.to(q.dtype))


def _mass(p: Cluster) -> Tensor:
    """Sum of each row, (n,): 1, or 0 for an empty one, with its gradient."""
    return (p.left * p.right.sum(0)).sum(1)


CLUSTER_KERNEL = Route(
    "generic (cross-entropy: moments of clusters, if the score has them)", _cluster_kernel, GENERIC.plan
)
CLUSTER_RAISED = Route("generic (cross-entropy: along the edges)", _cluster_raised, GENERIC.plan)
