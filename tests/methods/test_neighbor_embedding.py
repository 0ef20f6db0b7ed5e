"""Neighbor embedding: a planted error in any row is seen, and the rows are what other software says they are."""

import dataclasses
import math

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from tests.methods.mutation import survives

from torchicon.core import Candidates
from torchicon.methods import find, problems
from torchicon.methods.neighbor_embedding import ROWS
from torchicon.neighborhoods import KNN, Gaussian, Graph, NearestGaussian, Perplexity, StudentT, symmetrize

ROOT_HALF = math.sqrt(0.5)


def with_self(recipe, points):
    return recipe(points, candidates=Candidates.all(len(points)))


MUTANTS = {
    "self left in q": ("SNE", {"q": lambda z: with_self(Gaussian(ROOT_HALF), z)}),
    "another perplexity": ("SNE", {"p": lambda x: Gaussian(Perplexity(6.0))(x)}),
    "not symmetrized": ("t-SNE", {"p": lambda x: NearestGaussian(5.0)(x)}),
    "all cells weigh alike": ("t-SNE", {"weights": "sum"}),
    "reversed": ("t-SNE (row)", {"direction": "reverse"}),
    "symmetrized": ("t-SNE (row)", {"p": lambda x: symmetrize(NearestGaussian(5.0)(x))}),
    "one degree of freedom": ("t-SNE (df)", {"q": lambda z: StudentT(1.0)(z)}),
    "distance not over nu": ("t-SNE (df)", {"q": lambda z: StudentT(3.0, scale=1 / math.sqrt(3))(z)}),
    "tails swapped": ("Dual t-SNE", {"p": lambda x: Gaussian(ROOT_HALF)(x), "q": lambda z: StudentT()(z)}),
    "mean for sum": ("Dual t-SNE", {"weights": "mean"}),
    "factor 2 in the exponent": ("Dual t-SNE", {"q": lambda z: Gaussian(1.0)(z)}),
    "p of another scale": ("Doubly t-SNE", {"p": lambda x: StudentT(scale=0.9)(x)}),
    "self in both": (
        "Doubly t-SNE",
        {"p": lambda x: with_self(StudentT(), x), "q": lambda z: with_self(StudentT(), z)},
    ),
    "joint for row": ("Doubly t-SNE", {"weights": "joint"}),
    "weights forgotten": ("SNE graph embedding", {"p": lambda weight: Graph()((weight > 0).double())}),
    "weights squared": ("t-SNE graph embedding", {"p": lambda weight: Graph()(weight.square())}),
    "light tails": ("t-SNE graph embedding", {"q": lambda z: Gaussian(ROOT_HALF)(z)}),
    "heavy tails": ("SNE graph embedding", {"q": lambda z: StudentT()(z)}),
    "one neighbor fewer": ("SNE, uniform affinities", {"p": lambda x: KNN(4)(x)}),
    "mutual neighbors": ("SNE, uniform affinities", {"p": lambda x: symmetrize(KNN(5)(x))}),
    "cosine neighbors": ("t-SNE, uniform affinities", {"p": lambda x: KNN(5, metric="cosine")(x)}),
    "graded affinities": ("t-SNE, uniform affinities", {"p": lambda x: NearestGaussian(5 / 3)(x)}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_every_row_has_a_mutant():
    assert {row.name for row in ROWS} == {name for name, _ in MUTANTS.values()}


@pytest.mark.parametrize("seed", [0, 1])
def test_graph_embeddings_take_one_step_of_the_random_walk(seed):
    """networkx's stochastic graph."""
    weight = problems.graph(torch.Generator().manual_seed(seed))["weight"]
    walk = nx.stochastic_graph(nx.from_numpy_array(weight.numpy(), create_using=nx.DiGraph))
    p, _ = find("t-SNE graph embedding").neighborhoods({"weight": weight, "z": torch.zeros(len(weight), 2)})
    np.testing.assert_allclose(p.dense(), nx.to_numpy_array(walk), rtol=1e-14)


def test_uniform_affinities_are_directed():
    """k of them in every row, whoever the point is to its neighbors."""
    problem = problems.points(torch.Generator().manual_seed(3))
    p, _ = find("SNE, uniform affinities").neighborhoods(problem)
    index = NearestNeighbors(n_neighbors=5).fit(problem["x"].numpy()).kneighbors(return_distance=False)
    expected = torch.zeros(24, 24, dtype=torch.float64).scatter(1, torch.from_numpy(index), 0.2)
    torch.testing.assert_close(p.dense(), expected)
    assert not torch.equal(expected, expected.T)


def test_degrees_of_freedom_lead_from_tsne_to_gaussian_tails():
    """nu = 1 is t-SNE; as nu grows the value tends to that of joint SNE with an error of order 1 / nu (theory 1)."""
    problem = problems.points(torch.Generator().manual_seed(0))

    def value(recipe):
        return float(dataclasses.replace(find("t-SNE (df)"), q=lambda z: recipe(z)).loss(problem))

    assert value(StudentT(1.0)) == float(find("t-SNE").loss(problem))
    limit = value(Gaussian(1.0))
    errors = [abs(value(StudentT(nu)) - limit) for nu in (1e3, 1e4)]
    assert math.log10(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.05)


def test_row_and_joint_forms_differ_by_the_marginal_term():
    """Sum of r_i KL(P_i || q_i) plus KL(r || rho) with the shares r and rho (theory 1), by dense arithmetic."""
    problem = problems.points(torch.Generator().manual_seed(0))
    p, q = find("t-SNE").neighborhoods(problem)
    joint = p.dense() * p.log_mass().exp()[:, None]
    kernel = 1 / (1 + torch.cdist(problem["z"], problem["z"]).square())
    kernel.fill_diagonal_(0.0)
    r, rho = joint.sum(1), kernel.sum(1) / kernel.sum()
    rows = torch.special.xlogy(p.dense(), p.dense() / q.dense().fill_diagonal_(1.0)).sum(1)
    value = (r * rows).sum() + (r * (r / rho).log()).sum()
    torch.testing.assert_close(find("t-SNE").loss(problem), value)
