"""Debias, propagate, symmetrize (theory 1 and 5) against dense numpy, networkx-like walks and scipy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Candidates, CandidatesError, Dense, Sparse, cross_entropy, joint_kl, kl
from torchicon.neighborhoods import (
    Clusters,
    Cosine,
    Dot,
    Gaussian,
    Labels,
    NearestGaussian,
    Positives,
    StudentT,
    debias,
    propagate,
    symmetrize,
    taught,
)

EXACT = {"rtol": 1e-11, "atol": 1e-12}
edge_lists = st.integers(2, 7).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20))
)


def graph(n, edges, *, without_self, weight=None):
    edges = sorted(e for e in edges if not without_self or e[0] != e[1])
    anchor, column = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    candidates = Candidates.others(n) if without_self else Candidates.all(n)
    return Sparse.from_edges(anchor, column, weight, n=n, candidates=candidates)


def normalized(weight, *, without_self):
    weight = weight * (1 - np.eye(len(weight))) if without_self else weight
    total = weight.sum(1, keepdims=True)
    return weight / np.where(total > 0, total, 1.0)


class TestDebias:
    def test_on_p_it_is_label_smoothing(self, normal):
        """`F.cross_entropy(label_smoothing)`, value and gradient (theory 5)."""
        x, classes = normal(6, 3).requires_grad_(), normal(4, 3)
        labels = torch.tensor([0, 1, 3, 2, 0, 1])
        found = cross_entropy(debias(Labels(4)(labels), 0.3), Dot()(x, classes))
        expected = F.cross_entropy(x @ classes.T, labels, label_smoothing=0.3, reduction="none")
        torch.testing.assert_close(found, expected, **EXACT)
        torch.testing.assert_close(grad(found.sum(), x), grad(expected.sum(), x), **EXACT)

    @pytest.mark.parametrize("alpha", [0.01, 0.4, 0.8])
    def test_on_q_it_bounds_the_divergence(self, alpha, normal):
        """KL <= log(M / alpha) (theory 5, F3b), at logits a thousand nats apart."""
        z = 30 * normal(8, 2)
        value = kl(Positives()(torch.arange(8) // 2), debias(Dot()(z), alpha))
        assert value.max() <= math.log(7 / alpha)

    def test_gradient_through_log_q(self, normal):
        """d log q~ / d log q = (1 - alpha) q / q~ (theory 5, F3c)."""
        log_q = normal(5, 4).log_softmax(1).requires_grad_()
        smooth = debias(Dense(log_q), 0.3).log_at(None, slice(0, 5))
        smooth_given_q = torch.logaddexp(math.log(0.7) + log_q, torch.full_like(log_q, math.log(0.3 / 4)))
        torch.testing.assert_close(smooth, smooth_given_q, **EXACT)
        (found,) = grad(smooth_given_q.sum(), log_q)
        torch.testing.assert_close(found, 0.7 * log_q.exp() / smooth.exp(), **EXACT)

    def test_twice(self, normal):
        """1 - (1 - a)(1 - b) of uniform mass in all."""
        base = Dense(normal(4, 4))
        torch.testing.assert_close(debias(debias(base, 0.2), 0.5).dense(), debias(base, 1 - 0.8 * 0.5).dense(), **EXACT)

    def test_nothing_to_debias(self, normal):
        base = Dense(normal(4, 4))
        assert debias(base, 0) is base

    @given(st.floats().filter(lambda a: not 0 <= a < 1))
    def test_the_share_is_a_share(self, alpha):
        with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1"):
            debias(Dense.uniform(3), alpha)


class TestPropagate:
    @pytest.mark.parametrize("without_self", [True, False])
    @given(edge_lists, st.integers(1, 5))
    @settings(max_examples=40, deadline=None)
    def test_walks_are_averaged_powers(self, without_self, case, length):
        """normalize(P + ... + P^L), its self-loops dropped for a self-excluding q (theory 5, F4 and F4b)."""
        n, edges = case
        p = graph(n, edges, without_self=without_self)
        step = p.dense().numpy()
        total = sum(np.linalg.matrix_power(step, t) for t in range(1, length + 1))
        found = propagate(p, length)
        expected = normalized(total, without_self=without_self)
        torch.testing.assert_close(found.dense().double().numpy(), expected, **EXACT)
        assert found.candidates is p.candidates

    @pytest.mark.parametrize("without_self", [True, False])
    @given(edge_lists, st.integers(1, 5))
    @settings(max_examples=40, deadline=None)
    def test_uniform_over_what_can_be_reached(self, without_self, case, length):
        """Equal mass on the nodes 1 to L steps away (theory 5, F4c), by shortest paths; a return to self is a cycle."""
        n, edges = case
        p = graph(n, edges, without_self=without_self)
        adjacency = (p.dense().numpy() > 0).astype(float)
        away = shortest_path(csr_array(adjacency), unweighted=True)
        reachable = ((away <= length) & (away > 0)).astype(float)
        cycle = [(adjacency[i] > 0) & (away[:, i] + 1 <= length) for i in range(n)]
        reachable[np.arange(n), np.arange(n)] = [c.any() for c in cycle]
        expected = normalized(reachable, without_self=without_self)
        found = propagate(p, length, weights="uniform")
        torch.testing.assert_close(found.dense().double().numpy(), expected, **EXACT)

    def test_weighted_steps_in_float32(self, generator):
        weight = torch.rand(6, 2, generator=generator)
        columns = torch.stack([(torch.arange(6) + step) % 6 for step in (1, 3)], 1)
        p = Sparse.from_neighbors(columns, weight.log(), candidates=Candidates.others(6))
        step = p.dense().double().numpy()
        found = propagate(p, 3)
        assert found.dtype == torch.float32
        expected = normalized(step + step @ step + step @ step @ step, without_self=True)
        torch.testing.assert_close(found.dense().double().numpy(), expected, rtol=1e-5, atol=1e-6)

    def test_refusals(self):
        ring = graph(3, {(0, 1), (1, 2), (2, 0)}, without_self=True)
        with pytest.raises(ValueError, match="at least 1, got 0"):
            propagate(ring, 0)
        with pytest.raises(ValueError, match="'walks' or 'uniform', got 'equal'"):
            propagate(ring, 2, weights="equal")
        with pytest.raises(ValueError, match="got 2 and 3"):
            propagate(Labels(3)(torch.tensor([0, 2])), 2)


class TestSymmetrize:
    def joint(self, p):
        return p.dense() * p.log_mass().exp()[:, None]

    def test_joint_is_symmetric_and_sums_to_one(self, normal):
        """P_ij = (p_j|i + p_i|j) / 2n (van der Maaten & Hinton 2008), by scipy's sparse sums."""
        p = NearestGaussian(4.0)(normal(30, 3))
        step = csr_array((p.log_p.exp(), p.columns, p.indptr), shape=(30, 30))
        expected = (step + step.T).toarray() / 60
        torch.testing.assert_close(self.joint(symmetrize(p)).numpy(), expected, **EXACT)

    @given(edge_lists)
    @settings(max_examples=40, deadline=None)
    def test_empty_rows_leave_a_distribution(self, case):
        """Anchors that pick nobody may still be picked; those who neither pick nor are picked have no share."""
        n, edges = case
        p = graph(n, edges, without_self=True)
        dense = p.dense().numpy()
        total = dense + dense.T
        expected = total / max(total.sum(), 1e-300)
        torch.testing.assert_close(self.joint(symmetrize(p)).numpy(), expected, **EXACT)

    def test_gradients_with_an_anchor_that_has_no_share(self, normal):
        """Anchor 3 is alone: log 0 beside its share, and finite gradients to the others' weights."""
        log_weight = normal(4).requires_grad_()
        indptr, columns = torch.tensor([0, 2, 3, 4, 4]), torch.tensor([1, 2, 2, 0])
        p = symmetrize(Sparse(indptr, columns, log_weight, candidates=Candidates.others(4)))
        assert p.log_mass()[3] == -math.inf
        (gradient,) = grad(joint_kl(p, StudentT()(normal(4, 2))), log_weight)
        assert gradient.isfinite().all()

    def test_a_batch_keeps_its_shares(self, normal):
        """P restricted to the batch and divided by what is left of it."""
        p = symmetrize(NearestGaussian(3.0)(normal(20, 3)))
        index = torch.arange(0, 20, 2)
        inside = self.joint(p)[index][:, index]
        torch.testing.assert_close(self.joint(p.restrict(index)), inside / inside.sum(), **EXACT)

    def test_only_a_square_graph(self):
        with pytest.raises(ValueError, match="2 anchors and 3 candidates"):
            symmetrize(Labels(3)(torch.tensor([0, 2])))


def test_a_kernel_may_be_debiased_on_both_sides(normal):
    """Both debiased (theory 6): all pairs of log q~, against the dense formula."""
    x, y = normal(6, 3), normal(6, 2).requires_grad_()
    p, q = debias(Gaussian()(x), 0.2), debias(StudentT()(y), 0.6)
    off = ~torch.eye(6, dtype=torch.bool)
    dense_p, dense_q = (0.8 * Gaussian()(x).dense() + 0.2 / 5)[off], (0.4 * StudentT()(y).dense() + 0.6 / 5)[off]
    expected = (dense_p * (dense_p.log() - dense_q.log())).reshape(6, 5).sum(1)
    torch.testing.assert_close(kl(p, q), expected, **EXACT)


class TestTaught:
    """The candidates' side is the teacher's, and constant (theory 5)."""

    RECIPES = {  # noqa: RUF012
        "gaussian": lambda z, keys=None: Gaussian(0.8)(z, keys),
        "student": lambda z, keys=None: StudentT(scale=2.0)(z, keys),
        "cosine": lambda z, keys=None: Cosine(0.3)(z, keys),
        "cluster": lambda z, keys=None: Clusters()(z.softmax(1), None if keys is None else keys.softmax(1)),
        "point": lambda z, keys=None: Clusters("point")(z.softmax(1), None if keys is None else keys.softmax(1)),
        "debiased": lambda z, keys=None: debias(Dot()(z, keys), 0.2),
    }

    @pytest.mark.parametrize("name", RECIPES)
    def test_the_same_as_keys_of_the_teacher(self, name, normal):
        """As if the recipe had been called with the teacher's as keys, value and gradient; none reaches the teacher."""
        recipe = self.RECIPES[name]
        z, past, cotangent = normal(6, 3).requires_grad_(), normal(6, 3).requires_grad_(), normal(6, 6)
        expected = recipe(z, past.detach()).dense()
        found = taught(recipe(z, z), recipe(past, past)).dense()
        torch.testing.assert_close(found, expected, **EXACT)
        of_z, of_past = grad((found * cotangent).sum(), (z, past), allow_unused=True)
        torch.testing.assert_close(of_z, grad((expected * cotangent).sum(), z)[0], **EXACT)
        assert of_past is None

    def test_self_stays_out(self, normal):
        """An anchor's own past is no candidate where self is none; the normalizer of q is not the one of the result."""
        z, past = normal(5, 2), normal(5, 2)
        q = Gaussian()(z)
        q.prepare()
        logits = (-torch.cdist(z, past).square() / 2).fill_diagonal_(-math.inf)
        torch.testing.assert_close(taught(q, Gaussian()(past)).dense(), logits.softmax(1), **EXACT)
        torch.testing.assert_close(q.dense(), Gaussian()(z).dense(), **EXACT)

    def test_a_cluster_that_the_teacher_left(self, normal):
        """Its share goes to the anchor's other clusters, as ever."""
        phi, past = normal(4, 3).softmax(1), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double()[[0, 1, 1, 0]]
        for normalization in ("cluster", "point"):
            recipe = Clusters(normalization)
            torch.testing.assert_close(taught(recipe(phi), recipe(past)).dense(), recipe(phi, past).dense(), **EXACT)

    def test_weighted_clusters(self, normal):
        phi, past, degree = normal(5, 3).softmax(1), normal(5, 3).softmax(1), normal(5).exp()
        recipe = Clusters()
        found = taught(recipe(phi, weights=degree), recipe(past, weights=degree)).dense()
        torch.testing.assert_close(found, recipe(phi, past, weights=degree).dense(), **EXACT)

    def test_refusals(self, normal):
        z = normal(4, 3)
        for q, teacher in (
            (Dense(z @ z.T), Dense(z @ z.T)),
            (Gaussian()(z), StudentT()(z)),
            (debias(Dot()(z), 0.1), Dot()(z)),
        ):
            with pytest.raises(TypeError, match="A teacher stands on the candidates' side"):
                taught(q, teacher)
        with pytest.raises(CandidatesError, match="needs the same columns"):
            taught(Dot()(z, z), Dot()(z, z[:2]))
