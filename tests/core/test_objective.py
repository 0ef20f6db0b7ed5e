"""From rows to one number: direction, weights, empty rows, and the jointly normalized form."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from torch.autograd import grad

from torchicon.core import (
    Candidates,
    Dense,
    Mixture,
    Sparse,
    SupportError,
    block_budget,
    joint_kl,
    kl,
    objective,
)
from torchicon.neighborhoods import Clusters, Gaussian, Positives, StudentT, symmetrize

EXACT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture
def pair(normal):
    """Five anchors; row 2 of p is empty."""
    weight = normal(5, 4).exp()
    weight[2] = 0.0
    return Dense.from_weights(weight), Dense(normal(5, 4))


def test_mean_is_over_the_anchors_that_have_a_neighbor(pair):
    p, q = pair
    expected = rel_entr(p.dense().numpy(), q.dense().numpy()).sum() / 4
    assert objective(p, q).item() == pytest.approx(expected, abs=1e-12)
    with block_budget(1):
        assert objective(p, q).item() == pytest.approx(expected, abs=1e-12)


def test_sum_and_weights(pair, normal):
    """DCD (theory 2.4) weighs anchors by their degree; sums are not divided by anything."""
    p, q = pair
    degrees = normal(5).exp()
    rows = rel_entr(p.dense().numpy(), q.dense().numpy()).sum(1)
    assert objective(p, q, weights="sum").item() == pytest.approx(rows.sum(), abs=1e-12)
    assert objective(p, q, weights=degrees).item() == pytest.approx(rows @ degrees.numpy(), abs=1e-12)


def test_degree_weights_give_generalized_kl_of_the_graph(normal):
    """D(A || q) = sum A log(A / q) - A + q, up to a constant: sum_i d_i KL(p_i || q_i) (theory 2.4)."""
    graph = torch.triu(normal(6, 6).exp(), 1)
    graph = graph + graph.T
    degrees, p = graph.sum(1), Dense.from_weights(graph, Candidates.others(6))

    def both(logits):
        q = Clusters()(logits.softmax(1))
        dense = q.dense().numpy()
        generalized = (rel_entr(graph.numpy(), dense) - graph.numpy() + dense).sum()
        return objective(p, q, weights=degrees).item() - generalized

    assert both(normal(6, 3)) == pytest.approx(both(normal(6, 3)), abs=1e-10)


def test_direction(normal):
    """Reverse is KL(learned || supervisory), and it is the learned rows that then may be empty."""
    supervisory, learned = Dense(normal(4, 4)), Clusters()(normal(4, 3).softmax(1))
    torch.testing.assert_close(objective(supervisory, learned), kl(supervisory, learned).mean(), **EXACT)
    torch.testing.assert_close(
        objective(supervisory, learned, direction="reverse"), kl(learned, supervisory).mean(), **EXACT
    )


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    def test_unknown_words(self, pair):
        p, q = pair
        with pytest.raises(ValueError, match="direction must be 'forward' or 'reverse', got 'back'"):
            objective(p, q, direction="back")
        with pytest.raises(ValueError, match="weights must be 'mean', 'sum' or a tensor, got 'none'"):
            objective(p, q, weights="none")

    def test_weights_of_another_shape(self, pair):
        with pytest.raises(ValueError, match=r"must have shape \(5,\).*got \(4,\)"):
            objective(*pair, weights=torch.ones(4))

    def test_no_anchor_has_a_neighbor(self, pair):
        p = Positives()(torch.arange(5))
        q = StudentT()(torch.zeros(5, 2))
        with pytest.raises(ValueError, match="every row of p is empty"):
            objective(p, q)
        assert objective(p, q, weights="sum") == 0


class TestJoint:
    """van der Maaten's t-SNE: one KL over all cells of n x n."""

    def dense_joint(self, weight):
        weight = weight * (1 - np.eye(len(weight)))
        return weight / weight.sum()

    def symmetric_p(self, x, width=1.0):
        """Gaussian rows as a sparse graph that lists every other point."""
        n = len(x)
        others = torch.arange(n).repeat(n, 1)[~torch.eye(n, dtype=torch.bool)].reshape(n, n - 1)
        log_p = Gaussian(width)(x).log_at(others, slice(0, n))
        return symmetrize(Sparse.from_neighbors(others, log_p, candidates=Candidates.others(n)))

    def test_value_is_the_sum_over_all_cells(self, normal):
        x, y = normal(9, 4), normal(9, 2)
        conditional = Gaussian(1.0)(x).dense().numpy()
        p = (conditional + conditional.T) / 18
        sq_dist = ((y[:, None] - y) ** 2).sum(-1).numpy()
        q = self.dense_joint(1 / (1 + sq_dist))
        found = joint_kl(self.symmetric_p(x), StudentT()(y))
        assert found.item() == pytest.approx(rel_entr(p, q).sum(), abs=1e-12)

    def test_gradient_is_that_of_van_der_maaten(self, normal):
        """4 sum_j (P - Q)_ij (y_i - y_j) / (1 + d_ij) (JMLR 2008, eq. 5)."""
        x, y = normal(9, 4), normal(9, 2).requires_grad_()
        p = self.symmetric_p(x)
        joint = p.dense() * p.log_mass().exp()[:, None]
        difference = (y[:, None] - y).detach()
        kernel = 1 / (1 + difference.square().sum(-1))
        q = torch.from_numpy(self.dense_joint(kernel.numpy()))
        expected = 4 * ((joint - q) * kernel)[..., None].mul(difference).sum(1)
        for size in (2**20, 300):
            with block_budget(size):
                (found,) = grad(joint_kl(p, StudentT()(y)), y)
            torch.testing.assert_close(found, expected, **EXACT)

    def test_any_structure_is_shared_uniformly_over_its_anchors(self, normal):
        """Rows without shares of their own: P = p / n on the anchors that have a neighbor."""
        weight = normal(4, 4).exp()
        weight[1] = 0.0
        q = StudentT()(normal(4, 2), candidates=Candidates.all(4))
        joint_q = q.dense() * q.log_mass().exp()[:, None]
        for p in (Dense.from_weights(weight), Mixture(Dense.from_weights(weight), 0.2)):
            expected = rel_entr((p.dense() / 3).numpy(), joint_q.numpy()).sum()
            assert joint_kl(p, q).item() == pytest.approx(expected, abs=1e-12)

    def test_an_infinite_value_is_refused(self):
        q = Dense(torch.tensor([[0.0, -math.inf], [0.0, 0.0]]))
        with pytest.raises(SupportError):
            joint_kl(Dense.uniform(2), q)


def test_a_tensor_is_no_neighborhood(normal, unchecked):
    with pytest.raises(TypeError, match="p must be a neighborhood"):
        kl(normal(3, 2), Dense.uniform(3))
