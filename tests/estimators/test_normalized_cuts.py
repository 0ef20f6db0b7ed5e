"""Normalized cuts against dense formulas, scikit-learn and the I-Con row; moves that never raise the cut; edges."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sps
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import SpectralClustering
from sklearn.datasets import load_digits, load_iris, make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import kneighbors_graph

from torchicon import NormalizedCuts, cross_entropy
from torchicon.estimators import _cuts, _spectrum
from torchicon.methods import find

BLOBS = make_blobs([400, 120, 50, 20], 3, centers=None, cluster_std=2.0, random_state=1)[0]
MOONS = make_moons(600, noise=0.05, random_state=0)[0]


def dense_cut(weight, labels):
    """Shi & Malik 2000, cluster by cluster."""
    weight = weight.toarray() if sps.issparse(weight) else weight
    total = 0.0
    for cluster in np.unique(labels):
        inside = labels == cluster
        total += weight[inside][:, ~inside].sum() / weight[inside].sum()
    return total


def laplacian_values(weight):
    root = np.sqrt(weight.sum(1))
    return np.linalg.eigvalsh(np.eye(len(weight)) - weight / np.outer(root, root))


def planted(sizes, inside=0.3, outside=0.01, seed=0):
    """A random graph with more edges inside groups, its nodes shuffled, and the group of each node."""
    generator = np.random.default_rng(seed)
    group = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    chance = np.where(group[:, None] == group, inside, outside)
    upper = np.triu(generator.random(chance.shape) < chance, 1)
    return sps.csr_array((upper | upper.T).astype(float)), group


def fitted(weight, n_clusters, **changes):
    return NormalizedCuts(n_clusters, affinity="precomputed", random_state=0, **changes).fit(weight)


def test_the_graph_is_that_of_scikit_learn():
    seen = NormalizedCuts(4, n_neighbors=7, random_state=0).fit(BLOBS).affinity_matrix_
    connectivity = kneighbors_graph(BLOBS, 7, include_self=True)
    expected = (0.5 * (connectivity + connectivity.T)).toarray()
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(seen.toarray(), expected)


@pytest.mark.parametrize("n_clusters", [2, 4, 7])
def test_ncut_is_the_dense_formula_and_above_the_eigenvalues(n_clusters):
    model = NormalizedCuts(n_clusters, random_state=0).fit(BLOBS)
    assert np.bincount(model.labels_, minlength=n_clusters).min() > 0
    assert model.ncut_ == pytest.approx(dense_cut(model.affinity_matrix_, model.labels_), rel=1e-12)
    assert model.ncut_ >= model.eigenvalues_.sum()


def test_ncut_is_the_cross_entropy_of_its_row_of_the_table():
    """Theory 4d: sum_i H(q_i, p_i) = NCut - c + sum_i log Z_i."""
    model = NormalizedCuts(4, random_state=0).fit(BLOBS)
    weight = torch.from_numpy(model.affinity_matrix_.toarray())
    phi = torch.nn.functional.one_hot(torch.from_numpy(model.labels_)).double()
    method = find("Normalized cuts (cross-entropy)")
    q, p = method.q(weight=weight, logits=phi.log()), method.p(weight=weight)
    log_z = (weight / weight.sum(1)).logsumexp(1).sum()
    assert float(cross_entropy(q, p).sum() + 4 - log_z) == pytest.approx(model.ncut_, rel=1e-12)


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("kind", ["sparse", "dense", "small"])
def test_eigenvalues_are_those_of_the_dense_laplacian(kind, count):
    n = 40 if kind == "small" else 500
    x = np.random.default_rng(3).normal(size=(n, 3))
    weight = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1))
    if kind == "sparse":
        graph = kneighbors_graph(x, 8)
        weight = (graph + graph.T).toarray()
    np.fill_diagonal(weight, 0)
    graph = sps.csr_array(weight)
    found = _spectrum.smallest(graph, count, torch.Generator().manual_seed(0))
    expected = laplacian_values(weight)[:count]
    np.testing.assert_allclose(found.values[:count], expected, atol=2e-3 * float(found.values[-1]))
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(found.vectors.shape[1]), atol=1e-12)


def test_a_long_path_needs_more_than_float32():
    """Eigenvalues 1 - cos(pi j / (n - 1)) down to 5e-7."""
    n = 3000
    path = sps.diags_array([np.ones(n - 1)] * 2, offsets=[-1, 1]).tocsr()
    model = fitted(path, 3)
    expected = 1 - np.cos(np.pi * np.arange(3) / (n - 1))
    np.testing.assert_allclose(model.eigenvalues_, expected, rtol=0.05, atol=1e-12)
    # Three paths, of which the outer ones, cut once, have half the volume of the middle one.
    assert np.bincount(model.labels_, minlength=3) == pytest.approx([879, 1242, 879], abs=60)


def test_equal_eigenvalues_are_all_found():
    """Six cliques on a ring: the spectrum has pairs."""
    weight = np.kron(np.eye(6), np.ones((30, 30)) - np.eye(30))
    for at in range(6):
        i, j = 30 * at, (30 * at + 45) % 180
        weight[i, j] = weight[j, i] = 1
    graph = sps.csr_array(weight)
    found = _spectrum.smallest(graph, 6, torch.Generator().manual_seed(0)).values[:6]
    np.testing.assert_allclose(found, laplacian_values(weight)[:6], atol=1e-5)
    assert fitted(graph, 6).labels_.tolist() == np.repeat(range(6), 30).tolist()


graphs = st.builds(
    lambda n, c, chance, seed: (n, min(c, n - 1), chance, seed),
    st.integers(3, 25),
    st.integers(2, 6),
    st.floats(0.1, 1.0),
    st.integers(0, 2**16),
)


@given(graphs)
def test_refining_never_raises_the_cut_and_ends_where_no_move_lowers_it(drawn):
    n, c, chance, seed = drawn
    generator = np.random.default_rng(seed)
    weight = np.triu(generator.random((n, n)) * (generator.random((n, n)) < chance), 1)
    weight += np.diag(np.full(n - 1, 0.1), 1)  # a path, so that no node is alone
    weight += weight.T
    labels = generator.permutation(np.concatenate([np.arange(c), generator.integers(c, size=n - c)]))
    for graph in (_cuts.Graph(sps.csr_array(weight), weight.sum(1)), _cuts.Graph(weight, weight.sum(1))):
        found = _cuts.refine(graph, labels, c)
        assert found.value == pytest.approx(dense_cut(weight, found.labels), rel=1e-9)
        assert found.value <= dense_cut(weight, labels) * (1 + 1e-12)
        assert np.bincount(found.labels, minlength=c).min() > 0
        for point in range(n):
            for cluster in set(range(c)) - {found.labels[point]}:
                moved = found.labels.copy()
                moved[point] = cluster
                if np.bincount(moved, minlength=c).min() > 0:
                    assert dense_cut(weight, moved) >= found.value - 1e-9


@settings(max_examples=30)
@given(st.integers(2, 10), st.integers(0, 2**16))
def test_merging_takes_the_best_pair_every_time(k, seed):
    weight = np.random.default_rng(seed).random((k, k))
    weight += weight.T
    labels = np.arange(k)
    for left in range(k - 1, 0, -1):
        pairs = [(a, b) for a in range(left + 1) for b in range(a)]
        options = [np.unique(np.where(labels == a, b, labels), return_inverse=True)[1] for a, b in pairs]
        labels = min(options, key=lambda option: dense_cut(weight, option))
        assert adjusted_rand_score(_cuts.merge(weight, left), labels) == 1


def test_pieces_are_the_clusters_when_there_are_as_many():
    model = NormalizedCuts(2, random_state=0).fit(MOONS)
    piece = connected_components(model.affinity_matrix_, directed=False)[1]
    np.testing.assert_array_equal(model.labels_, piece)
    assert model.ncut_ == 0
    np.testing.assert_allclose(model.eigenvalues_, 0, atol=1e-12)


def test_more_clusters_than_pieces_cut_within_pieces():
    """A piece of three cliques, loosely tied, and one of a single clique."""
    weight = np.kron(np.eye(4), np.ones((40, 40)) - np.eye(40))
    for i, j in ((0, 40), (41, 80)):
        weight[i, j] = weight[j, i] = 1
    np.testing.assert_array_equal(fitted(weight, 4).labels_, np.repeat(range(4), 40))


def test_a_planted_partition_is_found_in_any_order_of_the_nodes():
    weight, group = planted([80, 60, 40, 30])
    model = fitted(weight, 4)
    assert adjusted_rand_score(group, model.labels_) == 1
    order = np.random.default_rng(1).permutation(len(group))
    shuffled = fitted(weight[order][:, order], 4)
    assert adjusted_rand_score(model.labels_[order], shuffled.labels_) == 1
    assert shuffled.ncut_ == pytest.approx(model.ncut_, rel=1e-12)


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")  # it is scikit-learn that warns
@pytest.mark.parametrize(
    ("x", "n_clusters"),
    [(load_digits().data, 10), (load_iris().data, 3), (MOONS, 4), (BLOBS, 4)],
    ids=["digits", "iris", "moons", "imbalanced"],
)
def test_no_cut_of_scikit_learn_is_lower(x, n_clusters):
    model = NormalizedCuts(n_clusters, random_state=0).fit(x)
    weight = model.affinity_matrix_
    assert model.ncut_ >= model.eigenvalues_.sum()
    for way in ("kmeans", "discretize", "cluster_qr"):
        theirs = SpectralClustering(n_clusters, affinity="precomputed", assign_labels=way, random_state=0).fit(weight)
        assert model.ncut_ <= dense_cut(weight, theirs.labels_) + 1e-12


def test_a_dense_kernel_and_its_sparse_copy_give_the_same():
    x = make_blobs(120, 2, centers=3, random_state=0)[0]
    weight = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 8)  # with loops, which count for nothing
    dense, sparse = fitted(weight, 3), fitted(sps.coo_array(weight), 3)
    np.testing.assert_array_equal(dense.labels_, sparse.labels_)
    np.fill_diagonal(weight, 0)
    assert dense.ncut_ == pytest.approx(dense_cut(weight, dense.labels_), rel=1e-12)
    assert sparse.ncut_ == pytest.approx(dense.ncut_, rel=1e-12)
    np.testing.assert_allclose(dense.affinity_matrix_.toarray(), weight, atol=1e-15)


def test_new_rows_go_where_their_neighbors_are():
    model = NormalizedCuts(2, random_state=0).fit(MOONS)
    np.testing.assert_array_equal(model.predict(MOONS + 1e-3), model.labels_)
    precomputed = fitted(model.affinity_matrix_, 2)
    np.testing.assert_array_equal(precomputed.predict(model.affinity_matrix_[:30]), model.labels_[:30])
    np.testing.assert_array_equal(precomputed.predict(model.affinity_matrix_[:30].toarray()), model.labels_[:30])


def test_a_saved_model_comes_back(tmp_path):
    model = NormalizedCuts(3, random_state=0).fit(BLOBS)
    model.save_pretrained(tmp_path)
    again = NormalizedCuts.from_pretrained(tmp_path)
    assert again.ncut_ == model.ncut_
    np.testing.assert_array_equal(again.affinity_matrix_.toarray(), model.affinity_matrix_.toarray())
    np.testing.assert_array_equal(again.predict(BLOBS), model.predict(BLOBS))


def test_one_cluster_holds_everything():
    model = fitted(planted([20])[0], 1)
    assert (model.ncut_, set(model.labels_)) == (0.0, {0})


def test_as_many_clusters_as_rows():
    model = NormalizedCuts(12, random_state=0).fit(BLOBS[:12])
    assert sorted(model.labels_) == list(range(12))
    assert model.ncut_ == pytest.approx(12)


TWO_PIECES = np.kron(np.eye(2), np.ones((3, 3)))


def changed(i, j, value):
    weight = np.ones((4, 4))
    weight[i, j] = value
    return weight


@pytest.mark.parametrize(
    ("change", "x", "message"),
    [
        ({"n_clusters": 5}, np.eye(4), "should be >= n_clusters=5"),
        ({"n_clusters": 0}, np.eye(4), "at least 1"),
        ({"affinity": "rbf"}, np.eye(4), "affinity must be"),
        ({"n_neighbors": 1}, np.eye(4), "n_neighbors must be at least 2"),
        ({"n_init": 0}, np.eye(4), "n_init must be at least 1"),
        ({"n_neighbors": 2}, [[0.0], [1.0], [5.0], [6.0], [20.0], [21.0]], "falls into 3 pieces"),
        ({"affinity": "precomputed", "n_clusters": 1}, TWO_PIECES, "falls into 2 pieces"),
        ({"affinity": "precomputed"}, np.ones((4, 3)), r"must be square, \(n, n\), got \(4, 3\)"),
        ({"affinity": "precomputed"}, changed(1, 2, -1.0), "nonnegative.* got -1 in row 1, column 2"),
        ({"affinity": "precomputed"}, changed(1, 2, 3.0), r"symmetric.* A - A.T has 2 in row 1, column 2"),
        ({"affinity": "precomputed"}, changed(1, 2, np.nan), "NaN in row 1, column 2"),
        ({"affinity": "precomputed"}, sps.csr_array(changed(1, 2, np.inf)), "finite, got inf in row 1, column 2"),
        ({"affinity": "precomputed"}, np.eye(4), "Row 0 .* has no weight to another row"),
    ],
)
def test_what_cannot_be_cut_is_refused(change, x, message):
    with pytest.raises(ValueError, match=message):
        NormalizedCuts(**{"n_clusters": 2, **change}).fit(x)


def test_eigenvalues_that_do_not_separate_are_told(monkeypatch):
    monkeypatch.setattr(_spectrum, "_MAX_FILTERS", 1)
    with pytest.warns(UserWarning, match="3 smallest eigenvalues of the graph were not separated"):
        NormalizedCuts(3, random_state=0).fit(BLOBS)
