"""Clustering: it finds what is there, says what it did, and its parts obey the equation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_wine, make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning

from torchicon import Clustering, Clusters, cross_entropy, debias, kl
from torchicon.core import Candidates, Sparse
from torchicon.estimators.clustering.graph import Edges, EdgeSample, knn_graph
from torchicon.estimators.clustering.heads import at_random, from_centers
from torchicon.estimators.clustering.merging import edge_shares, information, label_information, merge, shares
from torchicon.estimators.clustering.scaling import fit_scaler
from torchicon.estimators.clustering.training import Objective, divergence, edge_loss
from torchicon.evaluation import hungarian_accuracy
from torchicon.neighborhoods import propagate

DIGITS = load_digits()


@pytest.fixture(scope="module")
def fitted():
    return Clustering(10, random_state=0, verbose=False).fit(DIGITS.data)


def test_digits_are_found_without_labels(fitted):
    assert hungarian_accuracy(DIGITS.target, fitted.labels_) > 0.88
    assert any(note.startswith("Chose the graph's clusters") for note in fitted.notes_)


def test_the_saved_head_predicts_what_the_fit_said(fitted, tmp_path):
    np.testing.assert_array_equal(fitted.predict(DIGITS.data), fitted.labels_)
    np.testing.assert_allclose(fitted.predict_proba(DIGITS.data).sum(1), 1, rtol=1e-5)
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
    """Over all edges, with both ends' mean over the same points: CE(p, debiased q) - log n, and its gradient."""
    generator = torch.Generator().manual_seed(0)
    n, c, alpha = 30, 4, 0.3
    phi = torch.randn(n, c, dtype=torch.float64, generator=generator).softmax(1).requires_grad_()
    column = torch.randperm(n, generator=generator)
    seen = edge_loss(torch.cat([phi, phi[column]])[None], Objective(alpha, normalization, None))[0]
    p = Sparse.from_neighbors(column[:, None], candidates=Candidates.all(n))
    expected = cross_entropy(p, debias(Clusters(normalization)(phi), alpha)).mean() - np.log(n)
    torch.testing.assert_close(seen, expected)

    def along_rows_that_sum_to_one(slope):  # elsewhere the two may differ
        return slope - slope.mean(1, keepdim=True)

    slopes = [along_rows_that_sum_to_one(torch.autograd.grad(value, phi)[0]) for value in (seen, expected)]
    torch.testing.assert_close(*slopes)


def test_the_loss_by_cluster_has_its_own_gradient_right(normal):
    """Several heads, unequal weights of the heads, and a cluster that nobody is in."""
    both = (2 * normal(2, 12, 5)).softmax(2)
    both[..., 4] = 0.0
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64)
    both.requires_grad_()
    objective = Objective(0.2, "cluster", None)
    assert torch.autograd.gradcheck(
        lambda x: edge_loss(x, objective) * weight, (both[..., :4].detach().requires_grad_(),)
    )
    (slope,) = torch.autograd.grad(edge_loss(both, objective).sum(), both)
    assert slope.isfinite().all()
    assert (slope[..., 4] == 0).all()


@pytest.mark.parametrize("normalization", ["cluster", "point"])
def test_the_divergence_told_is_that_of_the_core(normalization, generator):
    """Exact over all edges; with p debiased, a mean over 200,000 drawn ones."""
    x = torch.randn(40, 3, generator=generator)
    head = at_random(1, [3, 4], generator, x.device)
    graph = knn_graph(x, 3, cosine=False)[0]
    q = debias(Clusters(normalization)(next(head.blocks(x))[1][0]), 0.3)
    for share, error in ((0.0, 1e-6), (0.4, 1e-3)):
        objective = Objective(0.3, normalization, None)
        seen = divergence(head, x, Edges(graph, share), objective, 200_000, generator)
        assert seen == pytest.approx(float(kl(debias(graph, share), q).mean()), abs=error)


def test_drawn_neighbors_follow_the_debiased_rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, generator=generator)
    graph = propagate(knn_graph(x, 3, cosine=False)[0], 2)
    anchor = torch.arange(12).repeat(20_000)
    neighbor = Edges(graph, 0.4).neighbors(anchor, generator)
    counts = torch.zeros(12, 12).index_put((anchor, neighbor), torch.ones(len(anchor)), accumulate=True) / 20_000
    torch.testing.assert_close(counts, debias(graph, 0.4).dense().float(), atol=0.015, rtol=0)


def test_a_head_from_centers_assigns_to_the_nearest():
    generator = torch.Generator().manual_seed(1)
    x, centers = torch.randn(50, 3, generator=generator), torch.randn(2, 5, 3, generator=generator)
    heads = from_centers(centers, torch.tensor([1.0, 2.0]))
    assert torch.equal(heads.labels(x), torch.stack([torch.cdist(x, c).argmin(1) for c in centers]))


def edge_sample(column, n):
    """One edge from each of n rows."""
    return EdgeSample(torch.arange(n), csr_array((np.full(n, 1 / n), (np.arange(n), column.numpy())), shape=(n, n)))


def test_merging_undoes_a_split():
    """Pieces of two true clusters, with edges inside the clusters only, merge back into them."""
    truth = torch.arange(40) // 20
    piece = torch.arange(40) // 5
    column = torch.cat([torch.randperm(20, generator=torch.Generator().manual_seed(s)) + 20 * s for s in (0, 1)])
    share = shares(torch.ones(40, 1), piece[:, None], 8, edge_sample(column, 40))
    merged = merge(share[None], 2)[0][piece].argmax(1)
    assert hungarian_accuracy(truth.numpy(), merged.numpy()) == 1.0


def test_kept_information_is_the_diagonal_of_the_mutual_information():
    """For edges that never leave a cluster it is the whole mutual information, here log 2."""
    inside = edge_sample((torch.arange(10) + 2) % 10, 10)
    assert label_information(torch.arange(10) % 2, 2, inside) == pytest.approx(np.log(2), rel=1e-6)


def test_shares_are_those_of_the_dense_probabilities(normal):
    """With no more clusters than are kept of a row, nothing is left out."""
    x = normal(30, 3).float()
    heads = at_random(2, [3, 8], torch.Generator().manual_seed(1), x.device)
    column = (torch.arange(30) * 7 + 3) % 30
    phi = next(heads.blocks(x))[1].double()
    dense = phi.transpose(1, 2) @ phi[:, column] / 30
    torch.testing.assert_close(
        edge_shares(heads, x, edge_sample(column, 30)), (dense + dense.transpose(1, 2)) / 2, rtol=1e-6, atol=1e-9
    )


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
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))


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
    drawn = {"n_clusters": 3, "generator": torch.Generator()}
    assert "standardized" in fit_scaler(torch.from_numpy(units), "auto", **drawn).reason
    assert "principal components" in fit_scaler(torch.from_numpy(components), "auto", **drawn).reason


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
    assert model.predict_proba(x).shape == (n, c)
    assert np.isfinite(model.predict_proba(x)).all()
    assert np.isfinite(model.loss_)


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
