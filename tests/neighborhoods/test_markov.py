"""The Markov random field of graphs with one out-neighbor a node: by enumeration, by frequencies, by networkx."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Candidates, Dense, block_budget, cross_entropy
from torchicon.neighborhoods import (
    KNN,
    Cosine,
    Gaussian,
    Graph,
    Pairs,
    Positives,
    laplacian,
    log_partition,
    sample_graphs,
    spectral_cross_entropy,
)

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def graphs(n):
    """All adjacency matrices without loops whose every row sums to 1, from among all 2^(n(n-1)) without loops."""
    cells = [(i, j) for i in range(n) for j in range(n) if i != j]
    for bits in itertools.product((0.0, 1.0), repeat=len(cells)):
        w = torch.zeros(n, n, dtype=torch.float64)
        for cell, bit in zip(cells, bits, strict=True):
            w[cell] = bit
        if (w.sum(1) == 1).all():
            yield w


@pytest.fixture(scope="module")
def four():
    """The 81 graphs on four nodes."""
    return torch.stack(list(graphs(4)))


def weights(normal, n):
    weight = normal(n, n).exp()
    return (weight + weight.T) * (1 - torch.eye(n, dtype=torch.float64))


def test_mean_graph_is_p(four, normal):
    """E[W] = P over all graphs, each weighted by the product of its edges (theory 2.6)."""
    pi = weights(normal, 4)
    assert len(four) == 3**4
    share = (pi**four).prod(-1).prod(-1)
    mean = (share[:, None, None] * four).sum(0) / share.sum()
    torch.testing.assert_close(Graph()(pi).dense(), mean, **EXACT)


def test_partition_function_is_the_sum_over_graphs(four, normal):
    """R = prod_i sum_j k_ij (theory 2.6)."""
    z = normal(4, 3)
    kernel = (-(z[:, None] - z).square().sum(-1) / 0.8).exp()
    total = (kernel**four).prod(-1).prod(-1).sum()
    torch.testing.assert_close(log_partition(Gaussian(math.sqrt(0.4))(z)), total.log(), **EXACT)


def chi_square(drawn, p):
    """P-value of the frequencies, over the rows together: they are independent."""
    count, n = drawn.shape
    seen = np.stack([np.bincount(drawn[:, i].numpy(), minlength=p.shape[1]) for i in range(n)])
    expected = count * p.numpy()
    cell = expected > 0
    if seen[~cell].any():
        return 0.0
    statistic = ((seen[cell] - expected[cell]) ** 2 / expected[cell]).sum()
    return chi2.sf(statistic, cell.sum() - n)


@pytest.mark.parametrize("size", [2**20, 100])
@pytest.mark.parametrize("kind", ["graph", "knn", "kernel", "dense"])
def test_frequencies(kind, size, normal, generator):
    x = normal(7, 2)
    p = {
        "graph": Graph()(weights(normal, 7).float()),
        "knn": KNN(3)(x),
        "kernel": Gaussian(0.7)(x, normal(5, 2)),
        "dense": Dense(normal(7, 3)),
    }[kind]
    with block_budget(size):
        drawn = sample_graphs(p, 4000, generator=generator)
    assert drawn.shape == (4000, 7)
    assert 0.01 < chi_square(drawn, p.dense()) < 0.99
    assert chi_square(drawn, p.dense().roll(1, 0)) < 1e-6


def test_rows_are_independent(generator):
    """Pairs of edges are as frequent as the product of their probabilities."""
    p = Dense(torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64))
    drawn = sample_graphs(p, 8000, generator=generator)
    joint = torch.bincount(2 * drawn[:, 0] + drawn[:, 1], minlength=4) / 8000
    product = (p.dense()[0][:, None] * p.dense()[1]).flatten()
    assert (joint - product).abs().max() < 4 * 0.5 / math.sqrt(8000)


def test_a_seed_is_a_graph(normal):
    p = Graph()(weights(normal, 6))
    first, again = (sample_graphs(p, 3, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert (first != torch.arange(6)).all()


def test_an_anchor_without_neighbor_has_no_graph(generator):
    with pytest.raises(ValueError, match="row 2 of p is empty"):
        sample_graphs(Positives()(torch.tensor([0, 0, 1])), 1, generator=generator)


@pytest.mark.parametrize("kind", ["graph", "knn", "loops"])
def test_laplacian_is_networkx(kind, normal):
    x = normal(9, 2)
    weight = weights(normal, 9) * (weights(normal, 9) > 1.5)
    p = {
        "graph": Graph()(weight + weights(normal, 9) * 1e-3),
        "knn": KNN(3)(x),
        "loops": KNN(3)(x, candidates=Candidates.all(9)),
    }[kind]
    dense = p.dense().numpy()
    graph = nx.from_numpy_array((dense + dense.T) / 2)
    # networkx counts a loop's weight once in the row sum, so that it cancels as it does here
    torch.testing.assert_close(
        laplacian(p).to_dense(), torch.from_numpy(nx.laplacian_matrix(graph).toarray().astype(float)), **EXACT
    )
    assert torch.linalg.eigvalsh(laplacian(p).to_dense()).min() > -1e-12


def test_only_a_square_graph_has_a_laplacian():
    with pytest.raises(ValueError, match="2 anchors and 3 candidates"):
        laplacian(Pairs()(2, candidates=Candidates.all(3)))


@pytest.mark.parametrize("learned", [False, True])
def test_spectral_form_is_the_cross_entropy(learned, normal):
    """For any p, with the gradients of points and temperature (theory 2.6)."""
    p, z = Graph()(weights(normal, 6)), normal(6, 3).requires_grad_()
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    found = spectral_cross_entropy(p, z, temperature=tau if learned else 0.3)
    expected = cross_entropy(p, Gaussian(tau.sqrt())(z)).sum()
    torch.testing.assert_close(found, expected, **EXACT)
    inputs = (z, tau) if learned else (z,)
    torch.testing.assert_close(grad(found, inputs), grad(expected, inputs), **EXACT)


def test_on_the_sphere_it_is_simclr_summed(normal):
    p, z = Positives()(torch.arange(5).repeat(2)), normal(10, 4)
    found = spectral_cross_entropy(p, F.normalize(z, dim=1), temperature=0.2)
    torch.testing.assert_close(found, cross_entropy(p, Cosine(0.2)(z)).sum(), **EXACT)
