"""Gaussian affinities of a given perplexity, by scipy's root finder, one row at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax, xlogy

Matrix = NDArray[np.float64]

PERPLEXITY = 5.0  # the examples'


def squared_distances(x: Matrix) -> Matrix:
    """All squared Euclidean distances, by differences."""
    return np.asarray(((x[:, None] - x[None]) ** 2).sum(-1))


def conditional(x: Matrix, *, neighbors: int | None = None) -> Matrix:
    """Rows p(j|i) of perplexity `PERPLEXITY` over the others, or over that many nearest ones."""
    sq_dist = squared_distances(x)
    p = np.zeros_like(sq_dist)
    for i in range(len(x)):
        others = np.setdiff1d(np.argsort(sq_dist[i], kind="stable"), [i], assume_unique=True)[:neighbors]
        logits = -sq_dist[i, others]

        def gap(log_beta: float, logits: Matrix = logits) -> float:
            row = softmax(np.exp(log_beta) * logits)
            return float(-xlogy(row, row).sum() - np.log(PERPLEXITY))

        p[i, others] = softmax(np.exp(brentq(gap, -30.0, 30.0, xtol=1e-14)) * logits)
    return p
