"""K-Means against scikit-learn from the same start, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits, make_blobs

from torchicon import Clusters, Gaussian, KMeans, cross_entropy
from torchicon.core import Candidates
from torchicon.estimators._lloyd import lloyd


def test_lloyd_follows_scikit_learn_from_the_same_start():
    x = load_digits().data
    start = x[:10].copy()
    theirs = SklearnKMeans(10, init=start, n_init=1, tol=0, algorithm="lloyd").fit(x)
    ours = lloyd(torch.from_numpy(x), torch.from_numpy(start), max_iter=300, tolerance=0.0)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-12)
    np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels_)


def test_inertia_is_the_cross_entropy_of_the_cluster_rows():
    """Theory 4e: sum_ij q_ij |x_i - x_j|^2 / 2 sigma^2 = inertia / sigma^2."""
    x, _ = make_blobs(60, 3, centers=4, random_state=0)
    model = KMeans(4, random_state=0).fit(x)
    phi = torch.nn.functional.one_hot(torch.from_numpy(model.labels_)).double()
    sigma = 1.3
    p = Gaussian(sigma)(torch.from_numpy(x), candidates=Candidates.all(60))
    attraction = cross_entropy(Clusters()(phi), p) - p.log_normalizer()
    assert float(attraction.sum()) * sigma**2 == pytest.approx(model.inertia_, rel=1e-12)


def test_restarts_find_what_scikit_learn_finds():
    x = load_digits().data
    ours = KMeans(10, n_init=10, random_state=0).fit(x)
    theirs = SklearnKMeans(10, n_init=10, random_state=0).fit(x)
    assert ours.inertia_ <= 1.005 * theirs.inertia_


def test_more_clusters_than_distinct_points_leaves_none_empty():
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    labels = KMeans(4, random_state=0).fit(x).labels_
    assert np.bincount(labels, minlength=4).min() >= 1


def test_far_from_the_origin_digits_are_kept():
    x, _ = make_blobs(200, 2, centers=3, random_state=0)
    near = KMeans(3, random_state=0).fit(x)
    far = KMeans(3, random_state=0).fit(x + 1e7)
    np.testing.assert_array_equal(near.labels_, far.labels_)
    np.testing.assert_array_equal(far.labels_, far.predict(x + 1e7))


def test_score_and_transform_agree_with_the_fit():
    x, _ = make_blobs(100, 4, centers=3, random_state=1)
    model = KMeans(3, random_state=0).fit(x)
    assert model.score(x) == pytest.approx(-model.inertia_)
    distances = model.transform(x)
    np.testing.assert_array_equal(distances.argmin(1), model.labels_)
    assert list(model.get_feature_names_out()) == ["kmeans0", "kmeans1", "kmeans2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 0}, "at least 1"),
        ({"n_clusters": 2.5}, "whole number"),
        ({"n_clusters": 30}, "should be >= n_clusters=30"),
        ({"n_clusters": 2, "n_init": 0}, "n_init"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        KMeans(**change).fit(np.eye(5))


def test_nan_is_named_by_row_and_column():
    x = np.eye(5)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN in row 3, column 1"):
        KMeans(2).fit(x)


@pytest.mark.parametrize("unit", [1e-30, 1e-25, 1e20, 1e30])
def test_units_do_not_matter(unit):
    """In float32 the squares of such numbers are zero or infinite."""
    x, _ = make_blobs(100, 4, centers=3, random_state=1)
    plain = KMeans(3, random_state=0).fit(x)
    scaled = KMeans(3, random_state=0).fit((x * unit).astype(np.float32))
    np.testing.assert_array_equal(scaled.labels_, plain.labels_)
    np.testing.assert_array_equal(scaled.predict((x * unit).astype(np.float32)), plain.labels_)
    assert scaled.inertia_ == pytest.approx(plain.inertia_ * unit**2, rel=1e-4)
