"""Neighborhoods on the k nearest neighbors, found by FAISS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from torchicon.core import Candidates, Sparse
from torchicon.neighborhoods.nearest import nearest
from torchicon.neighborhoods.perplexity import calibrate


@final
@dataclass(frozen=True)
class KNN:
    """Uniform over the k nearest other points, directed: 1/k on each (theory 2.1).

    Args:
        k: number of neighbors, fewer than the points.
        metric: "euclidean" or "cosine".

    >>> import torch
    >>> KNN(1)(torch.tensor([[0.0], [1.0], [3.0]])).dense()
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 1., 0.]], dtype=torch.float64)
    """

    k: int
    metric: Literal["euclidean", "cosine"] = "euclidean"

    def __call__(self, x: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from points (n, d). Ties are broken the same way each time; no gradient reaches x."""
        candidates = Candidates.others(len(x)) if candidates is None else candidates
        return Sparse.from_neighbors(nearest(x, self.k, metric=self.metric).index.to(x.device), candidates=candidates)


@final
@dataclass(frozen=True)
class NearestGaussian:
    """Gaussian of a given perplexity on the 3 x perplexity nearest neighbors: the p of t-SNE in practice.

    Beyond those the Gaussian has almost no mass, so that memory is linear in n (van der Maaten, JMLR 2014, sec. 4.1).

    Args:
        perplexity: effective number of neighbors, at least 1.
    """

    perplexity: float = 30.0

    def __call__(self, x: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from points (n, d); with fewer than 3 x perplexity others, all of them are listed."""
        candidates = Candidates.others(len(x)) if candidates is None else candidates
        k = min(math.ceil(3 * self.perplexity), len(x) - 1)
        if k < self.perplexity:
            raise ValueError(
                f"A perplexity of {self.perplexity:g} needs more than as many other points, got {len(x)} points; "
                "lower the perplexity (a third of the points or less)."
            )
        found = nearest(x, k)
        return self.from_neighbors(found.index.to(x.device), found.value.to(x.device), candidates=candidates)

    def from_neighbors(self, index: Tensor, sq_dist: Tensor, *, candidates: Candidates | None = None) -> Sparse:
        """Rows from neighbors that are known: (n, k) indices and squared distances, without the anchor itself.

        Raises:
            ValueError: fewer neighbors than the perplexity, or distances that are negative or NaN.

        >>> import torch
        >>> NearestGaussian(1.0).from_neighbors(torch.tensor([[1], [0]]), torch.ones(2, 1)).dense()
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
        """
        candidates = Candidates.others(len(index)) if candidates is None else candidates
        log_p = calibrate(sq_dist, self.perplexity).log_p.to(index.device)
        return Sparse.from_neighbors(index, log_p, candidates=candidates)
