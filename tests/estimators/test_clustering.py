"""Clustering: it finds what is there, says what it did, and its parts obey the equation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_wine, make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning

from torchicon import Clustering, Clusters, cross_entropy, debias
from torchicon.core import Candidates, Sparse
from torchicon.estimators.clustering.graph import Edges, knn_graph
from torchicon.estimators.clustering.heads import from_centers
from torchicon.estimators.clustering.merging import information, merge, shares
from torchicon.estimators.clustering.scaling import fit_scaler
from torchicon.estimators.clustering.training import Objective, edge_loss
from torchicon.evaluation import hungarian_accuracy

DIGITS = load_digits()


@pytest.fixture(scope="module")
def fitted():
    return Clustering(10, random_state=0, verbose=False).fit(DIGITS.data)


def test_digits_are_found_without_labels(fitted):
    assert hungarian_accuracy(DIGITS.target, fitted.labels_) > 0.88
    assert any(note.startswith("Chose the graph's clusters") for note in fitted.notes_)


def test_the_saved_head_predicts_what_the_fit_said(fitted, tmp_path):
    np.testing.assert_array_equal(fitted.predict(DIGITS.data), fitted.labels_)
    np.testing.assert_allclose(fitted.probabilities_.sum(1), 1, rtol=1e-5)
    fitted.save_pretrained(tmp_path)
    again = Clustering.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(DIGITS.data), fitted.predict_proba(DIGITS.data))
    assert again.notes_ == fitted.notes_


def test_where_kmeans_is_right_it_is_chosen():
    x, y = load_wine(return_X_y=True)
    model = Clustering(3, random_state=0, verbose=False).fit(x)
    assert hungarian_accuracy(y, model.labels_) > 0.94
    assert any(note.startswith("Chose K-Means") for note in model.notes_)
    assert any("standardized each column" in note for note in model.notes_)


def test_curved_clusters_are_found():
    x, y = make_moons(600, noise=0.05, random_state=0)
    model = Clustering(2, merge=8, random_state=0, verbose=False).fit(x)
    assert hungarian_accuracy(y, model.labels_) > 0.97


@pytest.mark.parametrize("normalization", ["cluster", "point"])
def test_the_edge_loss_is_the_cross_entropy_of_the_core(normalization):
    """Over all edges, with both ends' mean over the same points, it is CE(p, debiased q) - log n."""
    generator = torch.Generator().manual_seed(0)
    n, c, alpha = 30, 4, 0.3
    phi = torch.randn(n, c, dtype=torch.float64, generator=generator).softmax(1)
    column = torch.randperm(n, generator=generator)
    seen = edge_loss(phi[None], phi[None, column], Objective(alpha, normalization, None))[0]
    p = Sparse.from_neighbors(column[:, None], candidates=Candidates.all(n))
    expected = cross_entropy(p, debias(Clusters(normalization)(phi), alpha)).mean() - np.log(n)
    torch.testing.assert_close(seen, expected)


def test_drawn_neighbors_follow_the_debiased_rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, generator=generator)
    graph = knn_graph(x, 3, cosine=False, walks=2)
    anchor = torch.arange(12).repeat(20_000)
    neighbor = Edges(graph, 0.4).neighbors(anchor, generator)
    counts = torch.zeros(12, 12).index_put((anchor, neighbor), torch.ones(len(anchor)), accumulate=True) / 20_000
    torch.testing.assert_close(counts, debias(graph, 0.4).dense().float(), atol=0.015, rtol=0)


def test_a_head_from_centers_assigns_to_the_nearest():
    generator = torch.Generator().manual_seed(1)
    x, centers = torch.randn(50, 3, generator=generator), torch.randn(2, 5, 3, generator=generator)
    phi = from_centers(centers, torch.tensor([1.0, 2.0])).probabilities(x)
    assert torch.equal(phi.argmax(-1), torch.stack([torch.cdist(x, c).argmin(1) for c in centers]))


def test_merging_undoes_a_split():
    """Pieces of two true clusters, with edges inside the clusters only, merge back into them."""
    truth = torch.arange(40) // 20
    piece = torch.arange(40) // 5
    column = torch.cat([torch.randperm(20, generator=torch.Generator().manual_seed(s)) + 20 * s for s in (0, 1)])
    phi = torch.nn.functional.one_hot(piece, 8).float()[None]
    edges = (torch.arange(40), column, torch.full((40,), 1 / 40))
    merged = (phi @ merge(shares(phi, edges), 2))[0].argmax(1)
    assert hungarian_accuracy(truth.numpy(), merged.numpy()) == 1.0


def test_kept_information_is_the_diagonal_of_the_mutual_information():
    """For edges that never leave a cluster it is the whole mutual information, here log 2."""
    phi = torch.nn.functional.one_hot(torch.arange(10) % 2, 2).float()[None]
    inside = (torch.arange(10), (torch.arange(10) + 2) % 10, torch.full((10,), 0.1))
    assert float(information(shares(phi, inside))) == pytest.approx(np.log(2), rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"walks": 3},
        {"debias_p": 0.3},
        {"normalization": "point"},
        {"mapper": "mlp"},
        {"mapper": "mlp", "start": "random"},
        {"start": "random", "merge": 1},
        {"n_heads": 1},
        {"ema": 0.9},
        {"metric": "euclidean", "scaling": "standard", "n_neighbors": 5},
    ],
    ids=str,
)
def test_every_ingredient_can_be_changed_and_still_finds_blobs(change):
    x, y = make_blobs(300, 12, centers=4, random_state=3)
    model = Clustering(4, **({"steps": 200, "n_heads": 4, "random_state": 0, "verbose": False} | change)).fit(x)
    assert hungarian_accuracy(y, model.labels_) > 0.95


def test_the_papers_recipe_runs():
    x, y = make_blobs(300, 12, centers=3, random_state=3)
    model = Clustering.icon_paper(3, steps=800, learning_rate=0.02, random_state=0, verbose=False).fit(x)
    assert hungarian_accuracy(y, model.labels_) > 0.95
    assert model.get_params()["n_heads"] == 1


def test_the_same_seed_gives_the_same_labels():
    x, _ = make_blobs(200, 5, centers=3, random_state=0)
    one, two = (Clustering(3, steps=50, n_heads=4, random_state=7, verbose=False).fit(x) for _ in range(2))
    np.testing.assert_array_equal(one.probabilities_, two.probabilities_)


def test_constant_columns_and_duplicate_rows_work():
    x, y = make_blobs(60, 4, centers=3, random_state=1)
    x = np.repeat(np.concatenate([x, np.ones((60, 2))], axis=1), 5, axis=0)
    model = Clustering(3, steps=100, n_heads=4, random_state=0, verbose=False).fit(x)
    assert hungarian_accuracy(np.repeat(y, 5), model.labels_) > 0.98


def test_too_few_distinct_rows_are_told():
    with pytest.warns(ConvergenceWarning, match="Only . of 3 clusters have members"):
        model = Clustering(3, steps=20, n_heads=2, random_state=0, verbose=False).fit(np.ones((30, 4)))
    assert "Only" in model.notes_[-1]


def test_units_are_told_from_principal_components():
    generator = np.random.default_rng(0)
    latent = generator.normal(size=(400, 3)) @ generator.normal(size=(3, 12))
    units = latent * 10.0 ** np.linspace(-2, 2, 12)
    components = generator.normal(size=(2000, 12)) * 10.0 ** np.linspace(2, -2, 12)
    assert "standardized" in fit_scaler(torch.from_numpy(units), "auto").reason
    assert "principal components" in fit_scaler(torch.from_numpy(components), "auto").reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 100}, "n_clusters=100"),
        ({"n_clusters": "ten"}, "whole number"),
        ({"metric": "manhattan"}, "metric must be one of"),
        ({"debias_q": 0.0}, "debias_q in"),
        ({"debias_p": 1.0}, "debias_p must"),
        ({"ema": 1.0}, "ema is the decay"),
        ({"walks": 0}, "walks must be at least 1"),
        ({"merge": 1.5}, "merge must be at least 1 and whole"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        Clustering(**({"n_clusters": 2, "verbose": False} | change)).fit(np.eye(20))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(4, 40), d=st.integers(1, 80), c=st.integers(1, 4), seed=st.integers(0, 100))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_any_small_shape_works(n, d, c, seed):
    x = np.random.default_rng(seed).integers(0, 3, size=(n, d))
    model = Clustering(c, steps=5, n_heads=2, random_state=0, verbose=False).fit(x)
    assert model.probabilities_.shape == (n, c)
    assert np.isfinite(model.probabilities_).all()


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e12, 1e200])
def test_units_do_not_matter(unit):
    x, y = make_blobs(90, 5, centers=3, random_state=0)
    model = Clustering(3, steps=50, n_heads=2, random_state=0, verbose=False).fit(x * unit)
    assert hungarian_accuracy(y, model.labels_) > 0.98


def test_a_greedy_merge_takes_the_best_pair_of_all_each_time():
    """Against every pair tried anew, in float64."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(12, 12, dtype=torch.float64, generator=generator)
    share = share + share.T + 5 * torch.diag(torch.rand(12, dtype=torch.float64, generator=generator))
    share /= share.sum()
    groups = torch.eye(12, dtype=torch.float64)
    for _ in range(7):
        c = groups.shape[1]
        trials = []
        for i in range(c):
            for j in range(i + 1, c):
                merged = groups.clone()
                merged[:, i] += merged[:, j]
                merged = merged[:, torch.arange(c) != j]
                trials.append((float(information((merged.T @ share @ merged)[None])), merged))
        groups = max(trials, key=lambda trial: trial[0])[1]
    seen = merge(share[None], 5)[0].double()
    torch.testing.assert_close(seen @ seen.T, groups @ groups.T)
