"""The neighborhood of normalized cuts (theory 4d): from scratch, by networkx, and as a trace."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from torchicon.core import Candidates, cross_entropy, entropy, kl
from torchicon.neighborhoods import Clusters, Graph, NormalizedCut

EXACT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture
def weight(generator):
    """A weighted graph on nine nodes, a ring and some chords."""
    weight = torch.rand((9, 9), dtype=torch.float64, generator=generator)
    weight = torch.triu(weight * (weight > 0.5), diagonal=1)
    weight = weight + torch.diag(torch.ones(8, dtype=torch.float64), 1)
    return weight + weight.T


def cut(weight, phi):
    """What leaves each cluster divided by its volume, summed."""
    degree = weight.sum(1)
    return sum((c @ weight @ (1 - c)) / (c @ degree) for c in phi.T)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_rows_are_a_softmax_over_all_nodes(temperature, weight):
    expected = np.exp(weight.numpy() / weight.numpy().sum(0) / temperature)
    expected /= expected.sum(1, keepdims=True)
    for given in (weight, weight.to_sparse()):
        p = NormalizedCut(temperature)(given)
        torch.testing.assert_close(p.dense().numpy(), expected, **EXACT)
        assert p.candidates.per_anchor == 9


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("hard", [False, True])
def test_cross_entropy_is_the_normalized_cut(temperature, hard, weight, normal):
    """t sum_i H(q_i, p_i) = NCut - m + t sum_i log Z_i (theory 4d, E7b and E7f); KL has the entropies besides (E7g)."""
    logits = normal(9, 3)
    phi = F.one_hot(logits.argmax(1), 3).double() if hard else logits.softmax(1)
    degree = weight.sum(1)
    q, p = Clusters()(phi, weights=degree), NormalizedCut(temperature)(weight)
    log_z = torch.logsumexp(weight / degree / temperature, 1).sum()
    expected = cut(weight, phi) - 3 + temperature * log_z
    torch.testing.assert_close(temperature * cross_entropy(q, p).sum(), expected, **EXACT)
    divergence = temperature * (kl(q, p).sum() + entropy(q).sum())
    torch.testing.assert_close(divergence, expected, **EXACT)


def test_two_hard_clusters_are_networkxs_cut(weight):
    """E7d; and tr(H^T L H) with H_c = 1_c / sqrt(vol_c) (E7c), which soft clusters are not (E7e)."""
    label = torch.tensor([0, 0, 1, 0, 1, 1, 1, 0, 1])
    phi, degree = F.one_hot(label, 2).double(), weight.sum(1)
    p = NormalizedCut()(weight)
    found = cross_entropy(Clusters()(phi, weights=degree), p).sum() + 2 - torch.logsumexp(weight / degree, 1).sum()
    graph = nx.from_numpy_array(weight.numpy())
    expected = nx.normalized_cut_size(graph, np.flatnonzero(label == 0), np.flatnonzero(label == 1), weight="weight")
    assert math.isclose(found, expected, rel_tol=1e-12)
    indicator = phi / (degree @ phi).sqrt()
    laplacian = nx.laplacian_matrix(graph).toarray()
    assert math.isclose(found, np.trace(indicator.numpy().T @ laplacian @ indicator.numpy()), rel_tol=1e-12)


def test_a_node_without_edges_is_as_far_as_any_stranger():
    weight = torch.tensor([[0.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).softmax(1)
    torch.testing.assert_close(NormalizedCut()(weight).dense(), expected)


def test_a_loop_needs_self_among_the_candidates():
    """Edges by weight leave self out unless it is asked for; a cut always has it."""
    weight = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="Row 0 has mass on itself"):
        Graph()(weight)
    torch.testing.assert_close(
        Graph()(weight, candidates=Candidates.all(2)).dense(), torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    )


def test_refusals():
    with pytest.raises(ValueError, match=r"nonnegative, got -1 at \[1, 0\]"):
        NormalizedCut()(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        NormalizedCut(0)
