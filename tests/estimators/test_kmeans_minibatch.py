"""Mini-batch K-Means: near the full algorithm, Sculley's means, and arrays that are never copied whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from torchicon import KMeans
from torchicon.core import block_budget
from torchicon.estimators._lloyd import kmeans
from torchicon.estimators._minibatch import minibatch, step
from torchicon.estimators._points import MappedPoints

_DRAWN = "the batches are drawn rows, of which repeating makes others"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [KMeans(3, batch_size=20)],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": _DRAWN,
        "check_sample_weight_equivalence_on_sparse_data": _DRAWN,
    },
)
def test_scikit_learn(estimator, check):
    check(estimator)


_RNG = np.random.default_rng(0)
UNEVEN = np.concatenate(
    [_RNG.standard_normal((3000, 2)), *(_RNG.standard_normal((20, 2)) + 30 * at for at in np.eye(2))]
)
SETS = {
    "digits": (load_digits().data, 10, 1.05),
    "iris": (load_iris().data, 3, 1.05),
    "blobs": (make_blobs(2000, 10, centers=20, random_state=0)[0], 20, 1.005),
    "noise": (_RNG.standard_normal((1500, 8)), 15, 1.05),
    "two clusters of 0.7 %": (UNEVEN, 3, 1.005),
}


@pytest.mark.parametrize("name", SETS)
def test_inertia_is_near_that_of_all_rows(name):
    x, c, most = SETS[name]
    full = KMeans(c, random_state=0).fit(x)
    batched = KMeans(c, batch_size=200, random_state=0).fit(x)
    assert batched.inertia_ <= most * full.inertia_
    assert np.bincount(batched.labels_, minlength=c).min() >= 1
    np.testing.assert_array_equal(batched.predict(x), batched.labels_)
    assert batched.score(x) == pytest.approx(-batched.inertia_, rel=1e-9)


def test_one_batch_of_all_rows_is_one_iteration():
    """From counts of zero a step moves each center to the mean of its rows: Lloyd's iteration."""
    x, c, _ = SETS["digits"]
    options = {"init": x[:c].copy(), "max_iter": 1}
    full, batched = KMeans(c, **options).fit(x), KMeans(c, batch_size=len(x), **options).fit(x)
    np.testing.assert_allclose(batched.cluster_centers_, full.cluster_centers_, atol=1e-12)


def test_steps_keep_the_mean_of_all_rows_ever_given():
    """Sculley (2010), algorithm 1: with the rate 1 / count, a center is the mean of what it was given."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(90, 4, dtype=torch.float64, generator=generator)
    weight = torch.rand(90, dtype=torch.float64, generator=generator)
    centers, counts = rows[:3].clone(), torch.zeros(3, dtype=torch.float64)
    given: list[list[int]] = [[], [], []]
    for batch in torch.arange(90).split(30):
        for i in batch.tolist():
            given[int((rows[i] - centers).square().sum(1).argmin())].append(i)
        step(rows[batch], centers, counts, generator, weight[batch], patience=1000)
    for center, count, own in zip(centers, counts, given, strict=True):
        torch.testing.assert_close(count, weight[own].sum())
        torch.testing.assert_close(center, weight[own] @ rows[own] / weight[own].sum())


def test_a_center_nearest_to_nothing_is_drawn_anew():
    x, _ = make_blobs(900, 2, centers=[[0, 0], [20, 0], [0, 20]], random_state=0)
    start = np.array([[0.0, 0.0], [20.0, 0.0], [1e4, 1e4]])
    model = KMeans(3, init=start, batch_size=100, random_state=0).fit(x)
    assert model.inertia_ <= 1.01 * KMeans(3, random_state=0).fit(x).inertia_


def test_partial_fit_learns_from_a_stream():
    x, _ = make_blobs(3000, 5, centers=6, random_state=0)
    model = KMeans(6, random_state=0)
    for batch in np.array_split(x, 30):
        model.partial_fit(batch)
    assert model.n_iter_ == 30
    assert model.counts_.sum() == len(x)
    assert model.score(x) >= -1.005 * KMeans(6, random_state=0).fit(x).inertia_
    np.testing.assert_array_equal(model.labels_, model.predict(batch))


def test_partial_fit_goes_on_from_a_fit():
    x, c, _ = SETS["digits"]
    model = KMeans(c, random_state=0).fit(x)
    before = model.cluster_centers_.copy()
    model.partial_fit(x[:50])
    weight = np.bincount(KMeans(c, random_state=0).fit(x).predict(x[:50]), minlength=c)
    np.testing.assert_array_equal(model.counts_ - np.bincount(KMeans(c, random_state=0).fit_predict(x)), weight)
    moved = np.abs(model.cluster_centers_ - before).max(1) > 1e-9
    np.testing.assert_array_equal(moved, weight > 0)


def test_partial_fit_begins_with_enough_rows():
    with pytest.raises(ValueError, match="should be >= n_clusters=3"):
        KMeans(3).partial_fit(np.eye(2))
    with pytest.raises(NotFittedError):
        KMeans(3).predict(np.eye(2))


def on_disk(x, path):
    np.save(path, x)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("batch_size", [None, 100])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_a_mapped_array_gives_the_same_result(tmp_path, dtype, batch_size):
    x = load_digits().data.astype(dtype)
    mapped = on_disk(x, tmp_path / "x.npy")
    options = {"n_clusters": 10, "batch_size": batch_size, "n_init": 2, "random_state": 0}
    there, here = KMeans(**options).fit(mapped), KMeans(**options).fit(x)
    np.testing.assert_array_equal(there.labels_, here.labels_)
    np.testing.assert_array_equal(there.cluster_centers_, here.cluster_centers_)
    assert there.inertia_ == here.inertia_
    np.testing.assert_array_equal(there.predict(mapped), here.predict(x))
    np.testing.assert_array_equal(there.transform(mapped), here.transform(x))
    assert there.score(mapped) == here.score(x)


def test_half_precision_is_a_type_of_storage():
    """Computed in float32, whatever holds the rows: whole numbers up to 16 are exact in all of them."""
    x = load_digits().data
    options = {"init": x[:10].copy(), "n_clusters": 10, "tol": 0}
    half = KMeans(**options).fit(x.astype(np.float16))
    assert half.cluster_centers_.dtype == np.float32
    np.testing.assert_array_equal(half.labels_, KMeans(**options).fit(x.astype(np.float32)).labels_)
    np.testing.assert_array_equal(half.labels_, KMeans(**options).fit(torch.from_numpy(x).half()).labels_)


class Recorded:
    """An array that counts the rows it hands out at a time, and never more than a few are asked for."""

    def __init__(self, array):
        self._array, self.dtype, self.shape, self.most = array, array.dtype, array.shape, 0

    def __getitem__(self, rows):
        picked = self._array[rows]
        self.most = max(self.most, len(picked))
        return picked


@pytest.mark.parametrize("run", [kmeans, lambda *a, **k: minibatch(*a, batch_size=10_000, **k)], ids=["full", "batch"])
def test_no_visit_takes_the_whole(run):
    x = Recorded(np.random.default_rng(0).standard_normal((150_000, 8)).astype(np.float16))
    run(MappedPoints(x), 16, torch.Generator().manual_seed(0), n_init=1, max_iter=3)
    assert x.most <= 2**17  # 8 MiB of scores


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_a_mapped_array_is_named(tmp_path, bad):
    x = np.zeros((700, 3), dtype=np.float16)
    x[660, 1] = bad
    with block_budget(1000), pytest.raises(ValueError, match=r"(NaN|infinity) in row 660, column 1"):
        KMeans(2).fit(on_disk(x, tmp_path / "x.npy"))


def test_a_mapped_array_is_still_checked(tmp_path):
    model = KMeans(2, random_state=0).fit(np.eye(4))
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.predict(on_disk(np.eye(5, dtype=np.float16), tmp_path / "x.npy"))
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.fit(on_disk(np.ones(5), tmp_path / "y.npy"))
