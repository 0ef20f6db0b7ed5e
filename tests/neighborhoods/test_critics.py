"""Critics on cluster probabilities (theory 2.4, 4a) against scipy's distance and plain softmax."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch.autograd import grad, gradcheck
from torch.nn import functional as F

from torchicon.core import Candidates, block_budget, kl
from torchicon.neighborhoods import Clusters, Dot, Gaussian, JensenShannon, LogDot, Positives, smooth_probabilities

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def jensen_shannon(a, b):
    """By torch's divergences from the middle."""
    log_middle = ((a[:, None] + b) / 2).log()
    of_a, of_b = (F.kl_div(log_middle, x, reduction="none").sum(-1) for x in (a[:, None], b[None]))
    return -(of_a + of_b) / 2


LOGITS = {"log-dot": (LogDot(), lambda a, b: (a @ b.T).log()), "jensen-shannon": (JensenShannon(), jensen_shannon)}


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("size", [2**20, 200])
def test_value_and_gradient(name, size, normal):
    """The divergence and its gradient are those of a softmax of the printed critic, whatever the size of a block."""
    recipe, critic = LOGITS[name]
    z, partner = normal(8, 3).requires_grad_(), torch.arange(8) ^ 1
    phi = z.softmax(1)
    logits = critic(phi, phi).masked_fill(torch.eye(8, dtype=torch.bool), -math.inf)
    expected = F.cross_entropy(logits, partner, reduction="sum")
    with block_budget(size):
        found = kl(Positives()(torch.arange(8) // 2), recipe(phi)).sum()
        torch.testing.assert_close(found, expected, **EXACT)
        gradients = [grad(value, z, retain_graph=True) for value in (found, expected)]
    torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize("name", LOGITS)
def test_other_candidates(name, normal):
    recipe, critic = LOGITS[name]
    a, b = normal(5, 4).softmax(1).requires_grad_(), normal(7, 4).softmax(1).requires_grad_()
    cotangent = normal(5, 7)
    found, expected = recipe(a, b).dense(), critic(a, b).softmax(1)
    torch.testing.assert_close(found, expected, **EXACT)
    gradients = [grad((value * cotangent).sum(), (a, b), retain_graph=True) for value in (found, expected)]
    torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize("name", LOGITS)
def test_hooks_agree(name, normal):
    """`paired` gives the cells of `pairwise`, `pull_back` its gradient, which has one of its own."""
    recipe, _ = LOGITS[name]
    a, b, weight = normal(4, 3).softmax(1).requires_grad_(), normal(6, 3).softmax(1).requires_grad_(), normal(4, 6)
    scores = recipe.pairwise(a, b)
    torch.testing.assert_close(recipe.paired(a, b.expand(4, 6, 3)), scores, **EXACT)
    torch.testing.assert_close(recipe.pull_back(a, b, weight), grad((weight * scores).sum(), (a, b)), **EXACT)
    assert gradcheck(recipe.pairwise, (a, b))


def test_jensen_shannon_is_the_square_of_scipys_distance(normal):
    """In nats, H3; scipy gives its root."""
    phi = normal(6, 4).softmax(1)
    expected = [[-(jensenshannon(a, b) ** 2) for b in phi.numpy()] for a in phi.numpy()]
    torch.testing.assert_close(JensenShannon().pairwise(phi, phi), torch.tensor(expected), rtol=1e-9, atol=1e-12)


def test_jensen_shannon_of_certain_rows():
    """Probabilities 0 are no corner: between 0 and -log 2, and gradients are finite."""
    phi = torch.eye(3, dtype=torch.float64).repeat(2, 1).requires_grad_()
    scores = JensenShannon().pairwise(phi, phi)
    torch.testing.assert_close(scores, math.log(2) * (torch.eye(3, dtype=torch.float64).repeat(2, 2) - 1), **EXACT)
    p = Positives()(torch.arange(6) % 3)
    for rows in (JensenShannon()(phi), JensenShannon()(phi, phi, candidates=Candidates.others(6))):
        assert grad(kl(p, rows).sum(), phi)[0].isfinite().all()
    assert grad(JensenShannon().paired(phi, phi.expand(6, 6, 3)).sum(), phi)[0].isfinite().all()


def test_log_dot_with_self_is_by_point_clustering(normal):
    """softmax_k(log phi_i . phi_k) = phi_i . phi_k / sum_k phi_i . phi_k (theory 4a, E9)."""
    phi, keys = normal(7, 3).softmax(1), normal(5, 3).softmax(1)
    with_self = LogDot()(phi, candidates=Candidates.all(7))
    torch.testing.assert_close(with_self.dense(), Clusters("point")(phi).dense(), **EXACT)
    torch.testing.assert_close(LogDot()(phi, keys).dense(), Clusters("point")(phi, keys).dense(), **EXACT)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_smoothed_rows_are_distributions(share, normal):
    phi = smooth_probabilities(normal(6, 5).softmax(1), share)
    torch.testing.assert_close(phi.sum(1), torch.ones(6, dtype=torch.float64), **EXACT)
    assert phi.min() >= share / 5


@pytest.mark.parametrize(("share", "clusters"), [(0.01, 10), (0.1, 3), (0.5, 2)])
def test_the_least_score_of_smoothed_rows(share, clusters):
    """log(2 gamma (1 - gamma) / C + gamma^2 / C), of two that share no cluster (theory 2.4, H2)."""
    phi = smooth_probabilities(torch.eye(clusters, dtype=torch.float64), share)
    floor = math.log(2 * share * (1 - share) / clusters + share**2 / clusters)
    assert np.isclose(LogDot().pairwise(phi, phi).min(), floor, rtol=1e-12)


@given(st.floats().filter(lambda share: not 0 <= share < 1))
def test_the_share_is_a_share(share):
    with pytest.raises(ValueError, match="share must lie in"):
        smooth_probabilities(torch.eye(2), share)


@pytest.mark.parametrize("worst", [0.0, -0.5, math.nan])
def test_log_dot_needs_positive_probabilities(worst):
    with pytest.raises(ValueError, match="smooth_probabilities"):
        LogDot()(torch.tensor([[0.5, 0.5], [1 - worst, worst]]))


@pytest.mark.parametrize(
    "recipe", [LogDot(), Dot(), Gaussian(math.sqrt(0.5)), JensenShannon()], ids=lambda r: type(r).__name__
)
def test_undecided_rows_do_not_move(recipe):
    """All uniform: KL = log M and no gradient at all (theory 2.4, H1), whatever the critic."""
    logits = torch.zeros(10, 4, dtype=torch.float64, requires_grad=True)
    value = kl(Positives()(torch.arange(10) // 2), recipe(smooth_probabilities(logits.softmax(1), 0.01))).mean()
    assert math.isclose(value.detach(), math.log(9), rel_tol=1e-12)
    assert grad(value, logits)[0].abs().max() < 1e-17
