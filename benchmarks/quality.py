"""How good a map is, by one code for every library: exact KL on exact affinities, labels, neighbors kept."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import KDTree
from sklearn.neighbors import NearestNeighbors

_TILE = 1024
_VOTERS = 10


class MapQuality:
    """Figures of maps of one data set.

    P is van der Maaten's: Gaussians of the given perplexity over the exact 3 x perplexity + 1 nearest neighbors, as in
    scikit-learn, symmetrized. Everything is float64.

    Args:
        x: (n, d) data.
        labels: (n,) for the accuracy, or None.
        perplexity: effective number of neighbors.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray | None, perplexity: float) -> None:
        count = min(len(x) - 1, int(3 * perplexity + 1))
        dist, self.neighbors = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(x.astype(float)).kneighbors()
        conditional = gaussian_rows(dist**2, perplexity)
        n = len(x)
        p = csr_array((conditional.ravel(), self.neighbors.ravel(), np.arange(0, n * count + 1, count)), (n, n))
        self.p: coo_array = ((p + p.T) / (2 * n)).tocoo()
        self.classes = None if labels is None else np.unique(labels, return_inverse=True)[1]

    def neighborhoods(self, y: np.ndarray) -> dict[str, float]:
        """The share of points whose 10 nearest on the map y (n, 2) vote for their label, and the share of the 10
        nearest in x that are among the 10 nearest on the map.
        """
        index = others(KDTree(y).query(y, _VOTERS + 1, workers=-1)[1])
        found = {}
        if self.classes is not None:
            votes = np.eye(self.classes.max() + 1, dtype=int)[self.classes[index]].sum(1)
            found["10-NN accuracy"] = float((votes.argmax(1) == self.classes).mean())
        found["neighbors kept"] = recall(index, self.neighbors[:, :_VOTERS])
        return found

    def kl(self, y: np.ndarray) -> float:
        """KL(P || Q) of the map y over all pairs, in nats: sum of P log P - P log K, and log Z."""
        y = y.astype(float)
        rows, columns = self.p.coords
        log_k = -np.log1p(((y[rows] - y[columns]) ** 2).sum(1))
        weight = self.p.data
        kept = weight > 0
        return float((weight[kept] * (np.log(weight[kept]) - log_k[kept])).sum() + np.log(normalizer(y)))


def normalizer(y: np.ndarray) -> float:
    """Z, the sum of 1 / (1 + |y_i - y_j|^2) over all ordered pairs i != j, by tiles; a tile serves both orders."""
    y = y - y.mean(0)
    sq_norm = (y**2).sum(1, keepdims=True)
    ones = np.ones_like(sq_norm)
    left, right = np.hstack([-2 * y, sq_norm + 1, ones]), np.hstack([y, ones, sq_norm])  # 1 + |a|^2 + |b|^2 - 2ab
    total = 0.0
    for start in range(0, len(y), _TILE):
        rows = left[start : start + _TILE]
        for other in range(start, len(y), _TILE):
            tile = np.reciprocal(rows @ right[other : other + _TILE].T)
            total += tile.sum() * (1 if start == other else 2)
    return total - len(y)


def gaussian_rows(sq_dist: np.ndarray, perplexity: float) -> np.ndarray:
    """Rows p(j|i) of a perplexity, (n, k), by bisection of the logarithm of the precision."""
    scaled = (sq_dist - sq_dist[:, :1]) / np.maximum(sq_dist.mean(1, keepdims=True), np.finfo(float).tiny)
    low, high = np.full((len(scaled), 1), -20.0), np.full((len(scaled), 1), 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        energy = np.exp(middle) * scaled
        weight = np.exp(-energy)
        total = weight.sum(1, keepdims=True)
        entropy = np.log(total) + (weight * energy).sum(1, keepdims=True) / total
        flat = entropy > np.log(perplexity)
        low, high = np.where(flat, middle, low), np.where(flat, high, middle)
    return weight / total


def others(index: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """(n, k) neighbors from the (n, k + 1) of rows, all in order when left out: without the row itself, wherever it
    is, or without the last."""
    own = index == (np.arange(len(index)) if rows is None else rows)[:, None]
    own[~own.any(1), -1] = True
    return index[~own].reshape(len(index), -1)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """The share of exact neighbors that were found, (n, k) each."""
    return float((exact[:, :, None] == found[:, None, :]).any(2).mean())
