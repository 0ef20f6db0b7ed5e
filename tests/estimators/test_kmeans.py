"""K-Means against scikit-learn from the same start, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits, make_blobs

from torchicon import Clusters, Gaussian, KMeans, cross_entropy
from torchicon.core import Candidates, block_budget
from torchicon.estimators._lloyd import Totals, lloyd


def test_lloyd_follows_scikit_learn_from_the_same_start():
    x = load_digits().data
    start = x[:10].copy()
    theirs = SklearnKMeans(10, init=start, n_init=1, tol=0, algorithm="lloyd").fit(x)
    ours = lloyd(torch.from_numpy(x), torch.from_numpy(start), max_iter=300, tolerance=0.0)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-12)
    np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels_)


SETS = {
    "digits": (load_digits().data, 10),
    "blobs": (make_blobs(1500, 5, centers=12, random_state=0)[0], 12),
    "noise": (np.random.default_rng(0).standard_normal((2000, 8)), 15),
    "far": (make_blobs(800, 3, centers=6, random_state=1)[0] + 1e6, 9),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_estimator_follows_scikit_learn_from_the_same_start(name, weighted):
    x, c = SETS[name]
    weight = np.random.default_rng(1).random(len(x)) if weighted else None
    options = {"init": x[:c].copy(), "n_init": 1, "tol": 0}
    theirs = SklearnKMeans(c, algorithm="lloyd", **options).fit(x, sample_weight=weight)
    ours = KMeans(c, **options).fit(x, sample_weight=weight)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_ - x.mean(0), theirs.cluster_centers_ - x.mean(0), atol=1e-8)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    assert ours.score(x, sample_weight=weight) == pytest.approx(-ours.inertia_, rel=1e-9)
    np.testing.assert_array_equal(ours.predict(x), ours.labels_)


def plain_lloyd(x, centers, iterations):
    """Without bounds, tiles or running sums."""
    for _ in range(iterations):
        labels = np.square(x[:, None] - centers).sum(2).argmin(1)
        centers = np.stack([x[labels == j].mean(0) for j in range(len(centers))])
    return centers, np.square(x[:, None] - centers).sum(2)


@pytest.mark.parametrize("iterations", range(1, 8))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_skipped_point_would_have_changed(iterations, dtype):
    """Hamerly's bounds: each iteration is that of the plain algorithm."""
    x = SETS["noise"][0].astype(dtype)
    found = lloyd(torch.from_numpy(x), torch.from_numpy(x[:15].copy()), max_iter=iterations, tolerance=0.0)
    centers, sq_dist = plain_lloyd(x.astype(np.float64), x[:15].astype(np.float64), iterations)
    np.testing.assert_allclose(found.centers, centers, atol=1e-12 if dtype is np.float64 else 1e-5)
    np.testing.assert_array_equal(found.labels, sq_dist.argmin(1))


def test_inertia_never_rises():
    x = torch.from_numpy(SETS["digits"][0])
    seen = [lloyd(x, x[:10], max_iter=n, tolerance=0.0).inertia for n in range(1, 16)]
    assert (np.diff(seen) <= 0).all()


def test_the_tile_size_does_not_matter():
    x = torch.from_numpy(SETS["digits"][0])
    whole = lloyd(x, x[:10], max_iter=300, tolerance=0.0)
    with block_budget(5000):
        tiled = lloyd(x, x[:10], max_iter=300, tolerance=0.0)
    assert torch.equal(tiled.labels, whole.labels)
    assert tiled.inertia == pytest.approx(whole.inertia, rel=1e-12)


def test_weights_are_repeated_rows():
    x, c = SETS["blobs"]
    x = x[:300]
    times = np.random.default_rng(2).integers(0, 4, len(x))
    times[:c] = 1
    options = {"n_clusters": c, "init": x[:c].copy(), "tol": 0}
    weighted = KMeans(**options).fit(x, sample_weight=times)
    repeated = KMeans(**options).fit(x.repeat(times, axis=0))
    np.testing.assert_allclose(weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-12)
    np.testing.assert_array_equal(weighted.labels_.repeat(times), repeated.labels_)
    np.testing.assert_array_equal(weighted.counts_, repeated.counts_)
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-12)


def test_rows_without_weight_do_not_matter():
    x, _ = make_blobs(200, 2, centers=3, random_state=0)
    outliers = np.concatenate([x, np.full((5, 2), 1e5)])
    weight = np.r_[np.ones(200), np.zeros(5)]
    with_them = KMeans(3, random_state=0).fit(outliers, sample_weight=weight)
    assert with_them.inertia_ == pytest.approx(KMeans(3, random_state=0).fit(x).inertia_, rel=1e-9)
    assert np.bincount(with_them.labels_[:200], minlength=3).min() >= 1


def test_an_empty_cluster_takes_the_farthest_point():
    x = np.array([[0.0], [1.0], [2.0], [10.0]])
    found = KMeans(2, init=[[1.0], [100.0]], tol=0).fit(x)
    np.testing.assert_array_equal(found.labels_, [0, 0, 0, 1])
    np.testing.assert_array_equal(found.cluster_centers_, [[1.0], [10.0]])
    assert found.inertia_ == 2.0
    absent = KMeans(2, init=[[1.0], [100.0]], tol=0).fit(np.append(x, [[40.0]], 0), sample_weight=[1, 1, 1, 1, 0])
    np.testing.assert_array_equal(absent.cluster_centers_, [[1.0], [10.0]])


def test_what_leaves_a_cluster_leaves_nothing_behind():
    """0.1 + 0.2 + 0.3 - 0.1 - 0.2 - 0.3 is not zero in floating point."""
    x = torch.tensor([[0.1], [0.2], [0.3], [7.0]], dtype=torch.float64)
    totals = Totals(x, torch.tensor([0, 0, 0, 1]), 2, x[:, 0].contiguous())
    for i in torch.arange(3):
        totals.move(i[None], torch.tensor([0]), torch.tensor([1]))
    assert float(totals.sums[0]) == float(totals.mass[0]) == float(totals.means()[0]) == 0
    totals.move(torch.tensor([3]), torch.tensor([1]), torch.tensor([0]))
    assert float(totals.means()[0]) == 7


def test_as_many_clusters_as_points():
    x = np.random.default_rng(0).standard_normal((30, 3))
    model = KMeans(30, random_state=0).fit(x)
    np.testing.assert_array_equal(model.labels_, np.arange(30))
    np.testing.assert_allclose(model.cluster_centers_, x, rtol=1e-12)
    assert model.inertia_ == pytest.approx(0, abs=1e-25)


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, -1e-30]),
    ),
    data=st.data(),
)
def test_any_points_are_partitioned_without_empty_clusters(x, data):
    c = data.draw(st.integers(1, len(x)))
    batch_size = data.draw(st.sampled_from([None, 1, 5]))
    model = KMeans(c, n_init=2, batch_size=batch_size, random_state=0).fit(x)
    assert np.bincount(model.labels_, minlength=c).min() >= 1
    assert np.isfinite(model.cluster_centers_).all()
    own = model.cluster_centers_[model.labels_]
    assert model.inertia_ == pytest.approx(np.square(x - own).sum(), rel=1e-6, abs=1e-9 * max(1, np.abs(x).max() ** 2))


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
        ({"n_clusters": 2, "batch_size": 0}, "batch_size"),
        ({"n_clusters": 2, "init": "random"}, r"k-means\+\+"),
        ({"n_clusters": 2, "init": np.zeros((3, 5))}, r"got an array of shape \(3, 5\)"),
        ({"n_clusters": 2, "init": np.full((2, 5), np.nan)}, "with NaN or infinity"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        KMeans(**change).fit(np.eye(5))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(4), r"5 finite numbers of at least 0, one a row, got shape \(4,\)"),
        ([1, 1, 1, 1, -1], "values from -1.0 to 1.0"),
        ([1, 0, 0, 0, 0], "needs as many rows with a sample weight above zero, got 1"),
    ],
)
def test_wrong_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        KMeans(2).fit(np.eye(5), sample_weight=weight)


def test_given_centers_keep_their_order():
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    np.testing.assert_allclose(KMeans(2, init=[[4.0], [1.0]]).fit(x).cluster_centers_, [[5.05], [0.05]])


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
