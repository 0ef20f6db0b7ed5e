"""Cluster neighborhoods: the identities of theory 1 (E1, E8, E9, E13), and clusters that nobody is in."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Dense, SupportError, kl, objective
from torchicon.neighborhoods import Classes, Clusters, Pairs, debias

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def test_by_cluster_is_symmetric_and_doubly_stochastic(normal):
    q = Clusters()(normal(9, 4).softmax(1)).dense()
    torch.testing.assert_close(q, q.T, **EXACT)
    torch.testing.assert_close(q.sum(0), torch.ones(9, dtype=torch.float64), **EXACT)


def test_they_are_equal_where_phi_is_hard(normal):
    hard = F.one_hot(normal(9, 3).argmax(1), 3).double()
    torch.testing.assert_close(Clusters("point")(hard).dense(), Clusters()(hard).dense(), **EXACT)


def test_they_are_equal_where_clusters_are_of_one_size(normal):
    phi = normal(4, 4).softmax(1)
    phi = torch.cat([phi.roll(c, 1) for c in range(4)])  # every cluster has 4 expected members
    torch.testing.assert_close(Clusters("point")(phi).dense(), Clusters()(phi).dense(), **EXACT)


def test_by_point_is_the_critic_of_crlc(normal):
    """softmax_k(log phi_i . phi_k) (theory 4a)."""
    phi = normal(7, 3).softmax(1)
    torch.testing.assert_close(Clusters("point")(phi).dense(), (phi @ phi.T).log().softmax(1), **EXACT)


def test_gradient_of_free_probabilities(normal):
    """Probabilities that are parameters of their own, not a softmax: both normalizations as printed."""
    phi, keys = normal(6, 3).exp().requires_grad_(), normal(5, 3).exp().requires_grad_()
    cotangent = normal(6, 5)
    size = keys.sum(0)
    for normalization, printed in (
        ("cluster", phi @ (keys / size).T),
        ("point", phi @ keys.T / (phi @ size)[:, None]),
    ):
        found = Clusters(normalization)(phi, keys).dense()
        torch.testing.assert_close(found, printed, **EXACT)
        gradients = [grad((v * cotangent).sum(), (phi, keys), retain_graph=True) for v in (found, printed)]
        torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize("normalization", ["cluster", "point"])
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_rows_are_distributions_whatever_clusters_are_empty(normalization, counts, data):
    """A row sums to 1 as soon as one of its clusters has a member, and is empty otherwise."""
    members = torch.tensor(data.draw(st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=1)))
    phi = torch.tensor(counts, dtype=torch.float64)
    phi = phi / phi.sum(1, keepdim=True).clamp_min(1)
    rows = Clusters(normalization)(phi, members.double())
    reachable = ((phi > 0) & (members.sum(0) > 0)).any(1)
    torch.testing.assert_close(rows.dense().sum(1), reachable.double(), **EXACT)
    assert torch.equal(rows.empty_anchors(), ~reachable)


def test_a_cluster_without_members_has_finite_gradients():
    phi = torch.tensor([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]], requires_grad=True)
    keys = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]], requires_grad=True)
    for normalization in ("cluster", "point"):
        rows = Clusters(normalization)(phi, keys)
        loss = objective(rows, Dense.uniform(2))
        assert all(g.isfinite().all() for g in grad(loss, (phi, keys)))


@pytest.mark.parametrize("normalization", ["cluster", "point"])
def test_candidates_by_weight(normalization, normal):
    """A candidate of weight d counts as d candidates of its kind (theory 1, degree-weighted), value and gradient."""
    phi, keys, cotangent = normal(6, 3).softmax(1), normal(5, 3).softmax(1), normal(6, 5)
    copies = torch.tensor([1, 3, 2, 0, 4])
    phi.requires_grad_()
    found = Clusters(normalization)(phi, keys, weights=copies.double()).dense()
    repeated = Clusters(normalization)(phi, keys.repeat_interleave(copies, 0)).dense()
    of_key = torch.arange(5).repeat_interleave(copies)
    expected = torch.zeros(6, 5, dtype=torch.float64).index_add(1, of_key, repeated)
    torch.testing.assert_close(found, expected, **EXACT)
    gradients = [grad((v * cotangent).sum(), phi, retain_graph=True) for v in (found, expected)]
    torch.testing.assert_close(*gradients, **EXACT)


def test_by_cluster_keeps_the_weights(normal):
    """Rows sum to 1 and d^T q = d^T (theory 1, E7); a constant weight is none."""
    phi, degree = normal(9, 4).softmax(1), normal(9).exp()
    q = Clusters()(phi, weights=degree).dense()
    torch.testing.assert_close(q.sum(1), torch.ones(9, dtype=torch.float64), **EXACT)
    torch.testing.assert_close(degree @ q, degree, **EXACT)
    even = Clusters()(phi, weights=torch.full((9,), 3.0)).dense()
    torch.testing.assert_close(even, Clusters()(phi).dense(), **EXACT)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), r"shape \(4,\), one a candidate, got \(3,\)"),
        (torch.tensor([1.0, 1.0, -2.0, 1.0]), "at least 0, got -2"),
        (torch.tensor([1.0, 1.0, math.nan, 1.0]), "at least 0, got nan"),
    ],
)
def test_weights_that_are_none(weights, message):
    with pytest.raises(ValueError, match=message):
        Clusters()(torch.eye(4), weights=weights)


def test_supervised_clustering_is_solved_by_the_classes():
    """KL = 0 at clusters = classes (theory 2.4), where gradients exist although log 0 stands beside."""
    labels = torch.tensor([0, 1, 1, 2, 0])
    phi = F.one_hot(labels, 3).double().requires_grad_()
    loss = kl(Classes()(labels), Clusters()(phi))
    assert loss.abs().max() < 1e-15
    assert grad(loss.sum(), phi)[0].isfinite().all()


def test_disjoint_clusters_are_refused_until_debiased():
    phi = torch.eye(2)
    swapped = Pairs()(2).restrict(torch.tensor([0, 1]))
    assert (kl(swapped, Clusters()(phi)) == 0).all()
    with pytest.raises(SupportError, match="debias q"):
        kl(Dense.uniform(2), Clusters()(phi))
    bound = kl(Dense.uniform(2), debias(Clusters()(phi), 0.2)).max()
    assert bound <= math.log(2 / 0.2)


def test_half_precision_counts_members_in_float32():
    """2,049 members cannot be counted in bfloat16 or float16; each row still sums to 1."""
    for half in (torch.bfloat16, torch.float16):
        phi = torch.full((3000, 2), 0.5, dtype=half)
        for normalization in ("cluster", "point"):
            row = Clusters(normalization)(phi).log_at(None, slice(0, 1)).exp()
            torch.testing.assert_close(row.sum(), torch.ones(()), rtol=1e-5, atol=0)


def test_an_unknown_normalization():
    with pytest.raises(ValueError, match="must be 'cluster' or 'point', got 'row'"):
        Clusters("row")
