"""Clustering of what does not fit into memory: mapped features, many clusters, a graph of one's own, other devices."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from torchicon import KNN, Clustering
from torchicon.core import Candidates, Cluster, Sparse
from torchicon.core.numerics import block_budget
from torchicon.estimators.clustering.graph import knn_graph
from torchicon.estimators.clustering.scaling import fit_scaler
from torchicon.evaluation import hungarian_accuracy
from torchicon.neighborhoods import nearest as search

X, Y = make_blobs(400, 12, centers=4, random_state=3)
X = X.astype(np.float16)
QUICK = {"steps": 60, "n_heads": 4, "random_state": 0, "verbose": False}


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("change", [{}, {"start": "random"}], ids=str)
def test_mapped_half_precision_gives_what_the_same_numbers_give_in_memory(mapped, change):
    seen = Clustering(4, **(QUICK | change)).fit(mapped)
    expected = Clustering(4, **(QUICK | change)).fit(X.astype(np.float32))
    np.testing.assert_array_equal(seen.labels_, expected.labels_)
    np.testing.assert_array_equal(seen.predict_proba(mapped), expected.predict_proba(X.astype(np.float32)))
    assert seen.loss_ == expected.loss_
    assert hungarian_accuracy(Y, seen.labels_) > 0.95


def test_no_more_than_blocks_of_the_rows_are_ever_copied(tmp_path):
    """Neither when fitting nor when predicting is as much allocated as the rows in half precision take."""
    x, y = make_blobs(2000, 600, centers=4, random_state=3)
    np.save(tmp_path / "x.npy", x.astype(np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    Clustering(4, **QUICK).fit(X)  # what is imported on the way
    tracemalloc.start()
    with block_budget(100_000):
        model = Clustering(4, **QUICK).fit(mapped)
        labels = model.predict(mapped)
    peak = tracemalloc.get_traced_memory()[1]  # of numpy's arrays: rows come to torch only through these
    tracemalloc.stop()
    assert peak < mapped.nbytes
    assert hungarian_accuracy(y, labels) > 0.95


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named_in_a_late_block(tmp_path, bad):
    broken = X.copy()
    broken[397, 5] = bad
    np.save(tmp_path / "x.npy", broken)
    with (
        block_budget(10_000),
        pytest.raises(ValueError, match=f"{'NaN' if np.isnan(bad) else 'infinity'} in row 397, column 5"),
    ):
        Clustering(4, **QUICK).fit(np.load(tmp_path / "x.npy", mmap_mode="r"))


def test_many_clusters():
    """300 of them: the heads are trained one after the other, and their probabilities projected."""
    x, y = make_blobs(3000, 16, centers=300, cluster_std=0.5, random_state=0)
    model = Clustering(300, steps=4, n_heads=2, random_state=0, verbose=False)
    with block_budget(2**22):
        model.fit(x)
    assert hungarian_accuracy(y, model.labels_) > 0.95
    assert len(np.unique(model.labels_)) == 300


def found_graph():
    scaled = fit_scaler(torch.from_numpy(X).float(), "auto", n_clusters=4, generator=torch.Generator())
    return knn_graph(scaled(torch.from_numpy(X).float(), torch.device("cpu")), 10, cosine=True)[0]


def test_a_graph_that_is_given_counts_as_one_that_is_found():
    expected = Clustering(4, **QUICK).fit(X)
    graph = found_graph()
    for p in (graph, lambda x: found_graph()):
        seen = Clustering(4, p=p, **QUICK).fit(X)
        np.testing.assert_array_equal(seen.predict_proba(X), expected.predict_proba(X))
        assert any("as given, 4000 edges among 400 rows" in note for note in seen.notes_)


def test_neighbors_of_your_own_are_a_graph(tmp_path):
    index = search.nearest(X, 7).index
    model = Clustering(4, p=Sparse.from_neighbors(index.int(), candidates=Candidates.all(400)), **QUICK).fit(X)
    recipe = Clustering(4, p=KNN(7), **QUICK).fit(X)
    assert hungarian_accuracy(Y, model.labels_) > 0.95
    assert hungarian_accuracy(model.labels_, recipe.labels_) > 0.95
    model.save_pretrained(tmp_path)
    np.testing.assert_array_equal(Clustering.from_pretrained(tmp_path, p=None).predict(X), model.labels_)


def test_a_graph_of_something_else_is_refused():
    index = torch.arange(1, 400).repeat(2)[:400, None] % 400
    with pytest.raises(TypeError, match="neighborhoods among the 400 rows"):
        Clustering(4, p=Sparse.from_neighbors(index[:50], candidates=Candidates.all(400)), **QUICK).fit(X)
    with pytest.raises(TypeError, match="Sparse"):
        Clustering(4, p=Cluster(torch.ones(400, 1), torch.full((400, 1), 1 / 400)), **QUICK).fit(X)
    lonely = Sparse(torch.tensor([0, *range(1, 8), 7, *range(8, 400)]), index[:399, 0], candidates=Candidates.all(400))
    with pytest.raises(ValueError, match="Row 7 has no neighbor"):
        Clustering(4, p=lonely, **QUICK).fit(X)


def test_an_approximate_search_tells_its_recall(monkeypatch):
    assert "recall" not in Clustering(4, **QUICK).fit(X).notes_[1]
    monkeypatch.setattr(search, "_EXACT_ROWS", 300)
    monkeypatch.setattr(search, "_FEWEST_VISITED", 1)
    monkeypatch.setattr(search, "_RECALL", 0.5)
    assert "an approximate search, recall 0." in Clustering(4, **QUICK).fit(X).notes_[1]


@pytest.mark.parametrize(
    "change",
    [{}, {"mapper": "mlp"}, {"start": "random", "ema": 0.9, "debias_p": 0.3, "walks": 2}, {"normalization": "point"}],
    ids=str,
)
def test_nothing_is_made_on_the_default_device(change):
    """As on a GPU: whatever is made without a device lands elsewhere, and does not meet the features."""
    expected = Clustering(4, **(QUICK | change)).fit(X)
    with torch.device("meta"):
        model = Clustering(4, device="cpu", **(QUICK | change)).fit(X)
        labels = model.predict(X)
    np.testing.assert_array_equal(labels, expected.labels_)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
