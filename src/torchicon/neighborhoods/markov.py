r"""Neighborhoods as random graphs: the Markov random field of Kernel-InfoNCE and its spectral form (theory 2.6).

A random graph W gives every node one out-neighbor: $P(W) \propto \prod_i 1[\sum_j W_{ij} = 1] \prod_{ij}
\pi_{ij}^{W_{ij}}$ (Tan et al. 2024, section 3). Its rows are independent, and row i is drawn from $p_i \propto \pi_i$.
The cross-entropy of the graph of p with the graph of a kernel k is $\sum_i \mathrm{CE}(p_i, q_i)$.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchicon.core import Kernel, Rows, Sparse
from torchicon.core.numerics import row_blocks
from torchicon.neighborhoods.gaussian import Gaussian


@torch.no_grad()
def sample_graphs(p: Rows, count: int, *, generator: torch.Generator) -> Tensor:
    """Random graphs in which every node has one out-neighbor, drawn from its row of p.

    Args:
        p: any neighborhood; E[W] is its matrix.
        count: number of graphs.
        generator: on the device of p.

    Returns:
        (count, n) the column that each anchor points to.

    Raises:
        ValueError: an anchor has no neighbor to point to.

    >>> from torchicon.neighborhoods import KNN
    >>> nearest = KNN(1)(torch.tensor([[0.0], [1.0], [3.0]]))
    >>> sample_graphs(nearest, 2, generator=torch.Generator().manual_seed(0))
    tensor([[1, 0, 1],
            [1, 0, 1]])
    """
    empty = p.empty_anchors()
    if empty.any():
        raise ValueError(f"Every anchor needs a neighbor to point to, but row {int(empty.nonzero()[0])} of p is empty.")
    drawn = []
    gathered = p.width() < p.m
    for rows in row_blocks(p.n, p.bytes_per_row(p.width(), gathered=gathered)):
        columns, log_p = p.support(rows)
        cells = torch.multinomial(log_p.exp(), count, replacement=True, generator=generator)
        drawn.append(cells if columns is None else columns.gather(1, cells))
    return torch.cat(drawn).T


def log_partition(q: Kernel) -> Tensor:
    r"""Log of $R = \prod_i \sum_{j \ne i} k_{ij}$, the sum of $\prod_{ij} k_{ij}^{W_{ij}}$ over all graphs, in nats.

    >>> log_partition(Gaussian()(torch.zeros(3, 1)))  # 2 graphs for each of 3 nodes, all of weight 1
    tensor(2.0794)
    """
    return q.log_normalizer().sum()


def laplacian(p: Sparse) -> Tensor:
    r"""Laplacian $D - P$ of the symmetrized graph $P = (p + p^\top) / 2$: (n, n), a sparse COO tensor.

    >>> from torchicon.neighborhoods import KNN
    >>> laplacian(KNN(1)(torch.tensor([[0.0], [1.0], [3.0]]))).to_dense()
    tensor([[ 1.0000, -1.0000,  0.0000],
            [-1.0000,  1.5000, -0.5000],
            [ 0.0000, -0.5000,  0.5000]], dtype=torch.float64)
    """
    if p.n != p.m:
        raise ValueError(f"Only a square neighborhood has a Laplacian, got {p.n} anchors and {p.m} candidates.")
    half = p.log_p.exp() / 2
    row, column = torch.cat([p.anchor, p.columns]), torch.cat([p.columns, p.anchor])
    weight = torch.cat([half, half])
    # every edge adds its weight to the degree of its row, and takes it from its cell
    cells = torch.stack([torch.cat([row, row]), torch.cat([row, column])])
    return torch.sparse_coo_tensor(cells, torch.cat([weight, -weight]), (p.n, p.n), check_invariants=True).coalesce()


def spectral_cross_entropy(p: Sparse, z: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""$\frac1\tau \mathrm{tr}(Z^\top L Z) + \log R(Z)$ for $k = e^{-\|z_i - z_j\|^2 / 2\tau}$ (theory 2.6).

    It is $\sum_i \mathrm{CE}(p_i, q_i)$, spectral clustering on p with a repulsion that keeps Z from collapsing; on
    unit vectors the loss of SimCLR, summed. The factor 1 / tau is no constant that could be dropped.

    Args:
        p: square graph; L is its `laplacian`.
        z: (n, d) points.
        temperature: tau > 0.
    """
    bandwidth = temperature.sqrt() if isinstance(temperature, Tensor) else math.sqrt(temperature)
    attraction = (z * (laplacian(p).to(z.dtype) @ z)).sum() / temperature
    return attraction + log_partition(Gaussian(bandwidth)(z))
