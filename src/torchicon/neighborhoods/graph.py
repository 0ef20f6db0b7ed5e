"""The neighborhoods that a weighted graph gives: by its own edges, and that of normalized cuts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core import Candidates, Raised, Sparse
from torchicon.core.numerics import at_least_float32
from torchicon.neighborhoods.recipe import require_positive


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


@final
@dataclass(frozen=True)
class NormalizedCut:
    r"""Softmax of edges by degree, $p_{j|i} \propto \exp(w_{ij} / t d_j)$ over all nodes (theory 4d).

    Cluster rows q weighted by the degrees have a cross-entropy with it that is the normalized cut in m clusters:
    $t \sum_i H(q_i, p_i) = \mathrm{NCut} - m + t \sum_i \log Z_i$, with $Z_i$ the sum of row i's exponentials.

    Args:
        temperature: t > 0; small ones leave the cut alone beside the entropy of q in KL(q || p).

    >>> p = NormalizedCut()(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    >>> torch.testing.assert_close(p.dense()[0], torch.tensor([0.0, 1.0]).softmax(0))
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)

    def __call__(self, weight: Tensor, *, candidates: Candidates | None = None) -> Raised:
        """Rows from nonnegative weights (n, n), dense or a sparse COO tensor; memory follows the edges.

        Self is among the candidates, with the weight of its loop, 0 as a rule. A node without edges has degree 0 and
        is as far from everyone as any that is not a neighbor.

        Raises:
            ValueError: a negative weight.
        """
        coo = (weight if weight.is_sparse else weight.to_sparse()).coalesce()
        (anchor, column), value = coo.indices(), at_least_float32(coo.values())
        if (value < 0).any():
            e = int((value < 0).nonzero()[0])
            raise ValueError(f"Weights must be nonnegative, got {value[e]:.3g} at [{anchor[e]}, {column[e]}].")
        n = len(weight)
        degree = value.new_zeros(n).index_add(0, column, value)
        scores = value / (torch.where(degree == 0, 1.0, degree) * self.temperature)[column]
        return Raised(anchor, column, scores, n=n, candidates=Candidates.all(n) if candidates is None else candidates)
