"""k-nearest neighbors against scikit-learn's brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from torchicon.neighborhoods import nearest as search
from torchicon.neighborhoods.nearest import nearest


def data(n: int = 200, d: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_euclidean(shift):
    """Also far from the origin, where |a|^2 + |b|^2 - 2ab in float32 would lose every digit."""
    x = data() + shift
    found = nearest(x, 7)
    distance, index = NearestNeighbors(n_neighbors=7, algorithm="kd_tree").fit(x).kneighbors()
    np.testing.assert_array_equal(found.index.numpy(), index)
    np.testing.assert_allclose(found.value.numpy(), distance**2, rtol=1e-9)


def test_cosine():
    x = data()
    found = nearest(x, 7, metric="cosine")
    similarity = cosine_similarity(x)
    np.fill_diagonal(similarity, -np.inf)
    np.testing.assert_array_equal(found.index.numpy(), np.argsort(-similarity, axis=1)[:, :7])
    np.testing.assert_allclose(found.value.numpy(), -np.sort(-similarity, axis=1)[:, :7], atol=1e-12)


def test_queries():
    x, queries = data(), data(20, seed=1)
    found = nearest(x, 5, queries=queries)
    distance, index = NearestNeighbors(n_neighbors=5).fit(x).kneighbors(queries)
    np.testing.assert_array_equal(found.index.numpy(), index)
    np.testing.assert_allclose(found.value.numpy(), distance**2, rtol=1e-9)
    assert nearest(x, 1, queries=x[:3]).index.squeeze(1).tolist() == [0, 1, 2]


def test_duplicates_never_return_the_anchor():
    x = np.repeat(data(5), 20, axis=0)
    found = nearest(x, 30)
    assert not (found.index == torch.arange(100).unsqueeze(1)).any()
    assert (found.value[:, :19] == 0).all()
    assert (found.value[:, 19:] > 0).all()
    # ties come by index
    assert found.index[0, :19].tolist() == list(range(1, 20))


def test_constant_data():
    found = nearest(np.ones((6, 3)), 5)
    assert (found.value == 0).all()
    assert [set(row) for row in found.index.tolist()] == [set(range(6)) - {i} for i in range(6)]


@pytest.mark.parametrize("kind", [np.float16, np.int32, np.uint8])
def test_other_types(kind):
    x = (data() * 10).round().clip(0, 100).astype(kind)
    assert nearest(x, 3).value.dtype == torch.float64
    assert torch.equal(nearest(torch.from_numpy(x), 3).index, nearest(x.astype(float), 3).index)


def test_inverted_file(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 10)) + 4 * rng.normal(size=(30, 10))[rng.integers(30, size=3000)]
    exact = nearest(x, 10)
    monkeypatch.setattr(search, "_EXACT_ROWS", 100)
    found = nearest(x, 10)
    recall = (found.index.unsqueeze(2) == exact.index.unsqueeze(1)).any(2).double().mean()
    assert recall > 0.97
    assert torch.equal(nearest(x, 10).index, found.index)
    assert not (found.index == torch.arange(3000).unsqueeze(1)).any()


def test_inverted_file_with_poor_cells(monkeypatch):
    """A cell that holds fewer rows than asked for is no reason to return fewer neighbors."""
    monkeypatch.setattr(search, "_EXACT_ROWS", 10)
    monkeypatch.setattr(search, "_VISITED_CELLS", 1)
    found = nearest(data(400), 350)
    assert (found.index >= 0).all()
    assert (found.index.sort(1).values.diff(dim=1) > 0).all()


@settings(max_examples=40, deadline=None)
@given(
    npst.arrays(np.float32, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=st.floats(-1e3, 1e3, width=32))
)
def test_any_data(x):
    k = min(3, len(x) - 1)
    found = nearest(x, k)
    sq_dist = ((x[:, None].astype(float) - x[None].astype(float)) ** 2).sum(-1)
    np.fill_diagonal(sq_dist, np.inf)
    oracle = np.sort(sq_dist, axis=1)[:, :k]
    # float32 decides which rows are compared exactly
    scale = max(1.0, float(np.abs(x).max()))
    np.testing.assert_allclose(found.value.numpy(), oracle, rtol=1e-5, atol=1e-6 * scale**2)
    assert not (found.index == torch.arange(len(x)).unsqueeze(1)).any()


@pytest.mark.parametrize(
    ("x", "k", "metric", "message"),
    [
        (np.zeros((5, 2)), 5, "euclidean", r"k = 5 .* n = 5 rows"),
        (np.zeros((5, 2)), 0, "euclidean", "1 .. 4"),
        (np.zeros(5), 1, "euclidean", "must be"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), 1, "euclidean", "row 1, column 0"),
        (np.array([[0.0, 1.0], [0.0, 0.0]]), 1, "cosine", "Row 1 of x is all zeros"),
        (np.zeros((5, 2)), 1, "manhattan", "manhattan"),
    ],
)
def test_bad_input(x, k, metric, message):
    with pytest.raises(ValueError, match=message):
        nearest(x, k, metric=metric)


def test_query_shape():
    with pytest.raises(ValueError, match="3 columns but x has 2"):
        nearest(np.zeros((5, 2)), 1, queries=np.zeros((1, 3)))
