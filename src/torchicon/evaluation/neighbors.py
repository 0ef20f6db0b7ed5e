"""Whether points that belong together are near one another: exact neighbors, a point never its own."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import NearestNeighbors

from torchicon.evaluation._checks import as_categories, as_points, check_neighbors, check_same_length


def knn_accuracy(embedding: ArrayLike, labels: ArrayLike, *, k: int = 10) -> float:
    """The share of points, in [0, 1], whose k nearest others vote for their label (leave one out).

    Distances are Euclidean. A tied vote goes to the label that sorts first, as in scikit-learn.

    Args:
        embedding: the points, (n, d).
        labels: strings or numbers, (n,).
        k: neighbors that vote.

    Raises:
        ValueError: the lengths differ, a value is missing or not finite, or k is not in 1 .. n - 1.

    >>> knn_accuracy([[0.0], [0.1], [5.0], [5.1]], ["a", "a", "b", "a"], k=1)
    0.5
    """
    points = as_points(embedding, "embedding")
    positions = as_categories(labels, "labels")[1]
    check_same_length(len(points), "embedding", len(positions), "labels")
    check_neighbors(k, len(points))
    votes = np.sort(positions[_nearest(points, k)], axis=1)  # (n, k); sorted, so argmax takes the first label
    counts = np.stack([(votes == votes[:, [j]]).sum(axis=1) for j in range(k)], axis=1)  # (n, k)
    winner = np.take_along_axis(votes, counts.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((winner == positions).mean())


def neighbor_recall(x: ArrayLike, y: ArrayLike, *, k: int) -> float:
    """The mean share, in [0, 1], of each point's k nearest others in x that are among its k nearest in y.

    Distances are Euclidean on both sides. Chance is k / (n - 1).

    Args:
        x: the points as they were, (n, d).
        y: the same points on the map, (n, e).
        k: neighbors looked at.

    Raises:
        ValueError: the lengths differ, a value is not finite, or k is not in 1 .. n - 1.

    >>> neighbor_recall([[0.0], [1.0], [3.0], [7.0]], [[0.0], [2.0], [6.0], [14.0]], k=2)
    1.0
    """
    before, after = as_points(x, "x"), as_points(y, "y")
    check_same_length(len(before), "x", len(after), "y")
    check_neighbors(k, len(before))
    kept, found = _nearest(before, k), _nearest(after, k)  # (n, k) each
    hits = sum(int((found == kept[:, [j]]).any(axis=1).sum()) for j in range(k))
    return hits / kept.size


def _nearest(points: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    # kneighbors() without an argument leaves each point out of its own neighbors, duplicates included
    index = NearestNeighbors(n_neighbors=k).fit(points)
    neighbors: NDArray[np.intp] = index.kneighbors(return_distance=False)
    return neighbors
