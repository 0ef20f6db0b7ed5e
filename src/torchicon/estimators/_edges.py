"""The sparse neighborhoods that a map is made from, as compressed sparse rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Edges", "joint_edges", "row_edges"]


class Edges(NamedTuple):
    """A sparse n x n matrix of neighborhood weights.

    indptr: (n + 1,) where each row's edges start.
    columns: (e,) column of each edge.
    weight: (e,) p_ij, in float64.
    """

    indptr: Tensor
    columns: Tensor
    weight: Tensor

    @property
    def n(self) -> int:
        """Number of anchors."""
        return len(self.indptr) - 1

    @property
    def rows(self) -> Tensor:
        """(e,) row of each edge."""
        return torch.repeat_interleave(
            torch.arange(self.n, device=self.columns.device), self.indptr.diff(), output_size=len(self.columns)
        )

    @property
    def row_sums(self) -> Tensor:
        """(n,) total weight of each row."""
        return self.weight.new_zeros(self.n).index_add_(0, self.rows, self.weight)

    def plus_transpose(self) -> Edges:
        """The symmetric P + P'."""
        rows, columns = self.rows, self.columns
        key = torch.cat([rows * self.n + columns, columns * self.n + rows])
        cells, inverse = torch.unique(key, return_inverse=True)
        weight = self.weight.new_zeros(len(cells)).index_add_(0, inverse, self.weight.repeat(2))
        kept = weight > 0
        counts = torch.bincount(cells[kept] // self.n, minlength=self.n)
        return Edges(_starts(counts), cells[kept] % self.n, weight[kept])


def row_edges(index: Tensor, log_p: Tensor) -> Edges:
    """Directed neighborhoods p(j|i) from k neighbors a row: (n, k) indices and log-probabilities.

    >>> row_edges(torch.tensor([[1], [0]]), torch.zeros(2, 1)).weight
    tensor([1., 1.], dtype=torch.float64)
    """
    if index.shape != log_p.shape or index.ndim != 2:
        raise ValueError(f"index and log_p must both be (n, k), got {tuple(index.shape)} and {tuple(log_p.shape)}.")
    kept = log_p > -math.inf
    return Edges(_starts(kept.sum(1)), index[kept].long(), log_p[kept].double().exp())


def joint_edges(index: Tensor, log_p: Tensor) -> Edges:
    r"""The joint P of t-SNE, $P_{ij} = (p_{j|i} + p_{i|j}) / 2n$, which sums to 1 (van der Maaten & Hinton 2008).

    >>> joint_edges(torch.tensor([[1], [0], [0]]), torch.zeros(3, 1)).weight.tolist()  # doctest: +ELLIPSIS
    [0.333..., 0.166..., 0.333..., 0.166...]
    """
    directed = row_edges(index, log_p)
    symmetric = directed.plus_transpose()
    return symmetric._replace(weight=symmetric.weight / (2 * directed.n))


def _starts(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
