"""The neighborhood that a weighted graph gives: its own edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from torchicon.core import Candidates, Sparse


@final
@dataclass(frozen=True)
class Graph:
    r"""Edges by weight, $p_{j|i} = w_{ij} / \sum_k w_{ik}$: graph embeddings, DCD (theory 2.1, 2.4).

    >>> import torch
    >>> Graph()(torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])).dense()
    tensor([[0.0000, 0.2500, 0.7500],
            [1.0000, 0.0000, 0.0000],
            [1.0000, 0.0000, 0.0000]])
    """

    def __call__(self, weight: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from nonnegative weights (n, n), dense or a sparse COO tensor; a node without edges has an empty row.

        Self is left out unless ``candidates`` include it, so a loop is then refused.
        """
        coo = (weight if weight.is_sparse else weight.to_sparse()).coalesce()
        anchor, column = coo.indices()
        candidates = Candidates.others(len(weight)) if candidates is None else candidates
        return Sparse.from_edges(anchor, column, coo.values(), n=len(weight), candidates=candidates)
