"""Which cluster stands for which class: the one-to-one matching that agrees on the most rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from torchicon.evaluation._checks import as_categories, check_same_length


@dataclass(frozen=True, eq=False)
class Matching:
    """Classes and clusters in matched order: ``classes[i]`` belongs to ``clusters[i]`` as long as both exist.

    The matched classes come first, in sorted order. Where there are more classes than clusters, or more
    clusters than classes, those left without a partner follow at the end, in sorted order too.

    Attributes:
        classes: the distinct labels, (r,).
        clusters: the distinct cluster names, (c,).
        confusion: rows counted by class and cluster, (r, c), so the matched counts are its diagonal.
    """

    classes: NDArray[Any]
    clusters: NDArray[Any]
    confusion: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The share of rows, in [0, 1], whose cluster is the one matched to their class."""
        return float(np.trace(self.confusion) / self.confusion.sum())


def hungarian_match(labels: ArrayLike, clusters: ArrayLike) -> Matching:
    """Match clusters to classes one to one so that as many rows as possible agree.

    Kuhn (1955), "The Hungarian method for the assignment problem", on the table of counts.

    Args:
        labels: the class of each row, strings or numbers, (n,).
        clusters: the cluster of each row, strings or numbers, (n,).

    Raises:
        ValueError: the lengths differ, there are no rows, or a value is missing.

    >>> hungarian_match(["b", "b", "a", "a"], [0, 0, 7, 0]).confusion
    array([[1, 1],
           [0, 2]])
    """
    classes, class_of = as_categories(labels, "labels")
    names, cluster_of = as_categories(clusters, "clusters")
    check_same_length(len(class_of), "labels", len(cluster_of), "clusters")
    shape = (len(classes), len(names))
    counts = np.bincount(class_of * shape[1] + cluster_of, minlength=shape[0] * shape[1]).reshape(shape)
    matched_classes, matched_names = linear_sum_assignment(counts, maximize=True)
    rows = np.concatenate([matched_classes, np.setdiff1d(np.arange(shape[0]), matched_classes)])
    columns = np.concatenate([matched_names, np.setdiff1d(np.arange(shape[1]), matched_names)])
    return Matching(classes[rows], names[columns], counts[np.ix_(rows, columns)].astype(np.int64))


def hungarian_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """The share of rows, in [0, 1], that agree under the best one-to-one matching of clusters to classes.

    Raises:
        ValueError: as `hungarian_match`.

    >>> hungarian_accuracy(["cat", "cat", "dog", "dog"], [1, 1, 0, 1])
    0.75
    """
    return hungarian_match(labels, clusters).accuracy
