"""The attractive half of a neighbor embedding, over the edges of p, in dense blocks of neighbors."""

from __future__ import annotations

import scipy.sparse as sps
import torch
from torch import Tensor

from torchicon.estimators.embedding.kernel import MapKernel

__all__ = ["Attraction"]

_BLOCK_EDGES = 1 << 17  # enough for two threads, and a block's intermediates stay in their cache


class Attraction:
    r"""The term $-\sum_{ij} p_{ij} \log K(|y_i - y_j|^2)$ and its gradient.

    Rows of P + P' are sorted by degree and cut into blocks that are padded to their widest row. A block is a dense
    gather without scatter: several times faster than sparse products, and deterministic.

    Args:
        p: (n, n) weights in float64, zero on the diagonal; not changed.
        kernel: K.
        dtype: of the positions.
        device: where they are.

    Attributes:
        far_stiffness: (n,) force on each point per distance when the map is far too wide: that of springs for a
            Gaussian, next to nothing for a heavy tail.
    """

    def __init__(self, p: sps.csr_array, kernel: MapKernel, dtype: torch.dtype, device: torch.device) -> None:
        self.kernel = kernel
        self.n = p.shape[0]
        symmetric = sps.csr_array(p + p.T)
        symmetric.eliminate_zeros()
        far = torch.tensor([1e6], dtype=torch.float64)
        row_sums = torch.from_numpy(symmetric.sum(axis=1))
        self.far_stiffness = row_sums.mul(-2 * float(kernel.log_slope(far))).to(device, dtype)
        columns, weight = torch.from_numpy(symmetric.indices), torch.from_numpy(symmetric.data)
        indptr = torch.from_numpy(symmetric.indptr).long()
        degree = indptr.diff()
        order = degree.argsort(descending=True, stable=True)
        sorted_degree = degree[order].tolist()
        self._blocks: list[tuple[Tensor, Tensor, Tensor]] = []
        start = 0
        while start < self.n and sorted_degree[start] > 0:
            width = sorted_degree[start]
            stop = min(self.n, start + max(1, _BLOCK_EDGES // width))
            while 2 * sorted_degree[stop - 1] < width:  # a hub does not make the small rows wide
                stop -= 1
            block = _padded(indptr, columns, weight, order[start:stop], width)
            self._blocks.append((block[0].to(device), block[1].to(device), block[2].to(device, dtype)))
            start = stop

    def gradient(self, y: Tensor) -> Tensor:
        """Gradient (n, d) at positions y (n, d)."""
        result = torch.zeros_like(y)
        coordinates = [axis.contiguous() for axis in y.unbind(1)]
        for rows, neighbors, weight in self._blocks:
            differences = _differences(coordinates, rows, neighbors)
            spring = self.kernel.log_slope(_sq_dist(differences)).mul_(weight)
            parts = [torch.linalg.vecdot(spring, difference) for difference in differences]
            result[rows] = torch.stack(parts, dim=1).mul_(2)
        return result

    def value(self, y: Tensor) -> float:
        """The term itself at positions y (n, d)."""
        coordinates = [axis.contiguous() for axis in y.unbind(1)]
        total = 0.0
        for rows, neighbors, weight in self._blocks:
            log_k = self.kernel.log_value(_sq_dist(_differences(coordinates, rows, neighbors)))
            total -= float((weight * log_k).sum(dtype=torch.float64)) / 2  # P + P' counts every pair twice
        return total


def _padded(indptr: Tensor, columns: Tensor, weight: Tensor, rows: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (b,), their neighbors and weights (b, width); padding is the row itself with weight 0, which has no pull."""
    slots = torch.arange(width)
    present = slots < (indptr[rows + 1] - indptr[rows]).unsqueeze(1)
    position = torch.where(present, indptr[rows].unsqueeze(1) + slots, 0)
    neighbors = torch.where(present, columns[position], rows.unsqueeze(1))
    # int32: half as much to read at each step
    return rows.int(), neighbors.int(), torch.where(present, weight[position], 0.0)


def _differences(coordinates: list[Tensor], rows: Tensor, neighbors: Tensor) -> list[Tensor]:
    """Neighbors minus rows, (b, width) an axis."""
    flat = neighbors.flatten()
    return [
        axis.index_select(0, flat).view_as(neighbors).sub_(axis.index_select(0, rows).unsqueeze(1))
        for axis in coordinates
    ]


def _sq_dist(differences: list[Tensor]) -> Tensor:
    total = differences[0].square()
    for difference in differences[1:]:
        total.addcmul_(difference, difference)
    return total
