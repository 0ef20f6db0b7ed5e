"""The attractive half of a neighbor embedding, over the edges of p, in dense blocks of neighbors."""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.estimators._edges import Edges
from torchicon.estimators._radial import Radial

__all__ = ["Attraction"]

_BLOCK_EDGES = 1 << 15  # a block's intermediates stay in the cache of one core


class Attraction:
    r"""The term $-\sum_{ij} p_{ij} \log K(|y_i - y_j|^2)$ and its gradient.

    Rows of P + P' are sorted by degree and cut into blocks that are padded to their widest row. A block is a dense
    gather without scatter: several times faster than sparse products, and deterministic.

    Args:
        edges: p, with any weights; not changed.
        kernel: K.
        dtype: of the positions.

    Attributes:
        far_stiffness: (n,) force on each point per distance when the map is far too wide: that of springs for a
            Gaussian, next to nothing for a heavy tail.
    """

    def __init__(self, edges: Edges, kernel: Radial, dtype: torch.dtype) -> None:
        self.kernel = kernel
        self.n = edges.n
        symmetric = edges.plus_transpose()
        far = torch.tensor([(1e3 * kernel.width) ** 2], dtype=torch.float64)
        self.far_stiffness = symmetric.row_sums.mul(-2 * float(kernel.log_slope(far))).to(dtype)
        degree = symmetric.indptr.diff()
        order = degree.argsort(descending=True, stable=True)
        sorted_degree = degree[order].tolist()
        self._blocks: list[tuple[Tensor, Tensor, Tensor]] = []
        start = 0
        while start < self.n and sorted_degree[start] > 0:
            width = sorted_degree[start]
            stop = min(self.n, start + max(1, _BLOCK_EDGES // width))
            while 2 * sorted_degree[stop - 1] < width:  # a hub does not make the small rows wide
                stop -= 1
            self._blocks.append(_padded(symmetric, order[start:stop], width, dtype))
            start = stop

    def gradient(self, y: Tensor) -> Tensor:
        """Gradient (n, d) at positions y (n, d)."""
        result = torch.zeros_like(y)
        coordinates = [axis.contiguous() for axis in y.unbind(1)]
        for rows, neighbors, weight in self._blocks:
            differences = _differences(coordinates, rows, neighbors)
            spring = self.kernel.log_slope(_sq_dist(differences)).mul_(weight)
            parts = [torch.linalg.vecdot(spring, difference) for difference in differences]
            result[rows] = torch.stack(parts, dim=1).mul_(-2)
        return result

    def value(self, y: Tensor) -> float:
        """The term itself at positions y (n, d)."""
        coordinates = [axis.contiguous() for axis in y.unbind(1)]
        total = 0.0
        for rows, neighbors, weight in self._blocks:
            log_k = self.kernel.log_value(_sq_dist(_differences(coordinates, rows, neighbors)))
            total -= float((weight * log_k).sum(dtype=torch.float64)) / 2  # P + P' counts every pair twice
        return total


def _padded(edges: Edges, rows: Tensor, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (b,), their neighbors and weights (b, width); padding is the row itself with weight 0, which has no pull."""
    slots = torch.arange(width, device=rows.device)
    present = slots < (edges.indptr[rows + 1] - edges.indptr[rows]).unsqueeze(1)
    position = torch.where(present, edges.indptr[rows].unsqueeze(1) + slots, 0)
    neighbors = torch.where(present, edges.columns[position], rows.unsqueeze(1))
    weight = torch.where(present, edges.weight[position], 0.0).to(dtype)
    return rows, neighbors, weight


def _differences(coordinates: list[Tensor], rows: Tensor, neighbors: Tensor) -> list[Tensor]:
    flat = neighbors.flatten()
    return [
        axis.index_select(0, rows).unsqueeze(1) - axis.index_select(0, flat).view_as(neighbors) for axis in coordinates
    ]


def _sq_dist(differences: list[Tensor]) -> Tensor:
    total = differences[0].square()
    for difference in differences[1:]:
        total.addcmul_(difference, difference)
    return total
