"""k-nearest neighbors against scikit-learn's brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from torchicon.core.numerics import block_budget
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


def share_found(found, exact):
    return float((found.index.unsqueeze(2) == exact.index.unsqueeze(1)).any(2).double().mean())


def clumped(n=3000, d=10):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)) + 4 * rng.normal(size=(30, d))[rng.integers(30, size=n)]


@pytest.mark.parametrize("index_bytes", [1 << 20, 100_000, 50_000], ids=["float32", "half", "8 bits"])
def test_inverted_file(monkeypatch, index_bytes):
    """Its vectors as they are, in half precision and in 8 bits; what it finds is ranked by exact distances."""
    x = clumped()
    exact = nearest(x, 10)
    assert exact.recall == 1.0
    monkeypatch.setattr(search, "_EXACT_ROWS", 100)
    monkeypatch.setattr(search, "_INDEX_BYTES", index_bytes)
    found = nearest(x, 10)
    assert share_found(found, exact) > 0.97
    assert torch.equal(nearest(x, 10).index, found.index)
    assert not (found.index == torch.arange(3000).unsqueeze(1)).any()
    same = found.index == exact.index
    torch.testing.assert_close(found.value[same], exact.value[same], rtol=0, atol=0)


def test_the_recall_is_measured(monkeypatch):
    """As many neighbors of all rows are missed as of the 200 judged; as few as are asked for."""
    x = data(3000)
    exact = nearest(x, 10)
    monkeypatch.setattr(search, "_EXACT_ROWS", 100)
    monkeypatch.setattr(search, "_FEWEST_VISITED", 1)
    for least in (0.5, 0.9, 0.98):
        monkeypatch.setattr(search, "_RECALL", least)
        found = nearest(x, 10)
        assert least - 0.03 < found.recall < 1
        assert found.recall == pytest.approx(share_found(found, exact), abs=0.02)


def test_a_recall_out_of_reach_is_not_searched_for_ever(monkeypatch):
    """Few cells are as fast without any; of many, some are visited."""
    x = data(900)
    exact = nearest(x, 10)
    monkeypatch.setattr(search, "_EXACT_ROWS", 100)
    monkeypatch.setattr(search, "_RECALL", 1.1)
    found = nearest(x, 10)
    assert found.recall == 1.0
    assert torch.equal(found.index, exact.index)
    monkeypatch.setattr(search, "_AS_FAST", 1.0)
    monkeypatch.setattr(search, "_FEWEST_VISITED", 2)
    monkeypatch.setattr(search, "_MOST_VISITED", 0.5)
    found = nearest(x, 10)
    assert 0.5 < found.recall < 1.0
    assert found.recall == pytest.approx(share_found(found, exact), abs=0.03)


def test_tiles_and_blocks_do_not_matter(monkeypatch):
    x = data(300)
    whole = nearest(x, 7)
    monkeypatch.setattr(search, "_TILE_ROWS", 13)
    with block_budget(5_000):
        cut = nearest(x, 7)
    assert torch.equal(cut.index, whole.index)
    torch.testing.assert_close(cut.value, whole.value, rtol=0, atol=0)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("exact_rows", [20_000, 100])
def test_mapped_rows_are_as_good_as_any(tmp_path, monkeypatch, metric, exact_rows):
    monkeypatch.setattr(search, "_EXACT_ROWS", exact_rows)
    x = data(500).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with block_budget(10_000):
        found = nearest(mapped, 5, metric=metric)
    expected = nearest(x.astype(np.float32), 5, metric=metric)
    assert share_found(found, expected) > 0.99
    np.testing.assert_allclose(found.value.mean(), expected.value.mean(), rtol=1e-3)


def test_near_duplicates_in_float32_keep_their_distances():
    """Their differences are exact, where the products of centered rows would give zero or less."""
    x = np.float32(1000) + np.float32(2.0**-10) * np.arange(10, dtype=np.float32)[:, None] ** 2
    x = np.concatenate([x, -x])
    found = nearest(x, 19)
    sq_dist = (x.astype(float) - x.astype(float).T) ** 2
    np.fill_diagonal(sq_dist, np.inf)
    np.testing.assert_allclose(found.value.numpy(), np.sort(sq_dist, axis=1)[:, :19], rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_do_not_matter(unit):
    """In float32 the squares of such numbers are zero or infinite."""
    x = data().astype(np.float32)
    found, expected = nearest((x * unit).astype(np.float32), 5), nearest(x, 5)
    assert torch.equal(found.index, expected.index)
    torch.testing.assert_close(found.value / unit**2, expected.value, rtol=1e-5, atol=0)


@pytest.mark.parametrize("exact_rows", [20_000, 100])
def test_nothing_is_made_on_the_default_device(monkeypatch, exact_rows):
    """As if x were on a GPU: whatever is made without a device lands elsewhere, and does not meet it."""
    monkeypatch.setattr(search, "_EXACT_ROWS", exact_rows)
    x = torch.from_numpy(data())
    expected = nearest(x, 5)
    with torch.device("meta"):
        found = nearest(x, 5)
    assert torch.equal(found.index, expected.index)


def test_inverted_file_with_poor_cells(monkeypatch):
    """A cell that holds fewer rows than asked for is no reason to return fewer neighbors."""
    monkeypatch.setattr(search, "_EXACT_ROWS", 10)
    monkeypatch.setattr(search, "_FEWEST_VISITED", 1)
    monkeypatch.setattr(search, "_RECALL", 0.0)
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
