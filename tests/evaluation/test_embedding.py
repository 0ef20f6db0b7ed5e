"""Measures of maps and of collapse, against scikit-learn and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from torchicon.evaluation import effective_rank, knn_accuracy, neighbor_recall, saturated_share


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("as_text", [False, True], ids=["ints", "strings"])
def test_knn_accuracy_is_leave_one_out(k, as_text):
    """Equal to scikit-learn's classifier refitted without each point, ties included."""
    generator = np.random.default_rng(1)
    points = generator.standard_normal((60, 3))
    labels = (points[:, 0] + generator.standard_normal(60) > 0).astype(int) + (points[:, 1] > 0.5)
    labels = np.array(["low", "mid", "top"])[labels] if as_text else labels
    classifier = KNeighborsClassifier(k, algorithm="brute")
    predicted = cross_val_predict(classifier, points, labels, cv=LeaveOneOut())
    assert knn_accuracy(points, labels, k=k) == pytest.approx((predicted == labels).mean(), abs=1e-12)


def test_neighbor_recall_by_the_definition():
    generator = np.random.default_rng(2)
    x, y, k = generator.standard_normal((40, 5)), generator.standard_normal((40, 2)), 6

    def nearest(points, i):
        sq_dist = ((points - points[i]) ** 2).sum(axis=1)
        sq_dist[i] = np.inf
        return set(np.argsort(sq_dist)[:k])

    expected = np.mean([len(nearest(x, i) & nearest(y, i)) / k for i in range(40)])
    assert neighbor_recall(x, y, k=k) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 11))
@settings(max_examples=25, deadline=None)
def test_rotated_and_scaled_points_keep_all_neighbors(seed, k):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((12, 3))
    rotation = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    assert neighbor_recall(x, 7.0 * x @ rotation + 3.0, k=k) == 1.0


def test_all_others_are_always_recalled():
    """With k = n - 1 there is nothing left to miss, whatever the map, duplicates included."""
    x = np.random.default_rng(3).standard_normal((9, 4))
    assert neighbor_recall(x, np.zeros((9, 2)), k=8) == 1.0


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_directions(rank):
    """r orthogonal directions of equal size count as r, at any scale."""
    generator = np.random.default_rng(rank)
    left = np.linalg.qr(generator.standard_normal((20, rank)))[0]
    right = np.linalg.qr(generator.standard_normal((8, rank)))[0]
    assert effective_rank(1e200 * left @ right.T) == pytest.approx(rank, abs=1e-6)


def test_effective_rank_closed_form():
    """Singular values 3 and 1: shares .75 and .25."""
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(expected, abs=1e-12)


def test_effective_rank_of_collapse():
    assert effective_rank(np.full((5, 4), 2.5)) == pytest.approx(1.0, abs=1e-6)
    assert effective_rank(np.zeros((5, 4))) == 0.0


def test_saturated_share():
    probabilities = [[1.0, 0.0], [0.95, 0.05], [0.5, 0.5], [0.1, 0.9]]
    shares = [saturated_share(probabilities, threshold=t) for t in (0.0, 0.9, 0.95, 0.99)]
    assert shares == [1.0, 0.75, 0.5, 0.25]


points = [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knn_accuracy(points, ["a", "b"], k=1), r"embedding has 3 and labels has 2"),
        (lambda: neighbor_recall(points, [[0.0], [1.0]], k=1), r"x has 3 and y has 2"),
        (lambda: knn_accuracy(points, [0, 1, 2], k=3), r"between 1 and n - 1 = 2.*but is 3"),
        (lambda: neighbor_recall(points, points, k=0), r"between 1 and n - 1 = 2.*but is 0"),
        (lambda: knn_accuracy([0.0, 1.0], [0, 1], k=1), r"embedding must have one row a point.*shape \(2,\)"),
        (lambda: effective_rank(np.empty((0, 3))), r"z is empty"),
        (lambda: effective_rank([[1.0, np.inf]]), r"z\[0, 1\] is inf"),
        (lambda: saturated_share([[2.0, -1.0]], threshold=0.9), r"range from -1 to 2\. Apply a softmax"),
        (lambda: saturated_share([[1.0, 0.0]], threshold=95), r"threshold must be in \[0, 1\], but is 95"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
