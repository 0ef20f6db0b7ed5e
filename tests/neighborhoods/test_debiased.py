"""The positive against the rest: the estimate of debiased contrastive learning, its bound and its corners."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import grad, gradcheck
from torch.nn import functional as F

from torchicon.core import Candidates, Sparse, kl
from torchicon.neighborhoods import Cosine, Labels, PositiveOrRest, Positives

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def partner(n):
    return Positives()(torch.arange(n // 2).repeat(2))


def weights(z, temperature):
    """Of the positive, and of the negatives (n, n - 2)."""
    n = len(z)
    weight = (F.cosine_similarity(z[:, None], z[None], dim=-1) / temperature).exp()
    other = torch.arange(n).roll(n // 2)
    negative = (torch.arange(n)[:, None] != torch.arange(n)) & (other[:, None] != torch.arange(n))
    return weight[torch.arange(n), other], weight[negative].reshape(n, n - 2)


@pytest.mark.parametrize("prior", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("temperature", [0.2, 0.5, 2.0])
def test_estimate(prior, temperature, normal):
    z = normal(10, 4)
    positive, negative = weights(z, temperature)
    g = ((negative.mean(1) - prior * positive) / (1 - prior)).clamp_min(math.exp(-1 / temperature))
    expected = torch.stack([positive, 8 * g], 1)
    rows = PositiveOrRest(temperature, prior)(z, partner(10))
    torch.testing.assert_close(rows.dense(), expected / expected.sum(1, keepdim=True), **EXACT)


def test_no_prior_is_simclr(normal):
    z = normal(10, 4)
    one = kl(Labels(2)(torch.zeros(10, dtype=torch.long)), PositiveOrRest(0.5, prior=0.0)(z, partner(10)))
    torch.testing.assert_close(one, kl(partner(10), Cosine(0.5)(z)), **EXACT)


def test_gradient(normal):
    z = normal(8, 3).requires_grad_()
    assert gradcheck(lambda z: PositiveOrRest(0.5, prior=0.1)(z, partner(8)).log_p, z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_bound(dtype, temperature):
    """Positives on their anchors leave no true negatives to the estimate: the bound, and no NaN in its gradient."""
    z = torch.eye(4, dtype=dtype).repeat(2, 1).requires_grad_()
    rows = PositiveOrRest(temperature, prior=0.1)(z, partner(8))
    expected = torch.tensor([1 / temperature, math.log(6) - 1 / temperature], dtype=dtype).log_softmax(0)
    torch.testing.assert_close(rows.log_p, expected.expand(8, 2))
    assert grad(rows.log_p.sum(), z)[0].isfinite().all()


@given(st.floats(max_value=0.0, exclude_max=True) | st.floats(min_value=1.0) | st.just(math.nan))
def test_the_prior_is_a_share(prior):
    with pytest.raises(ValueError, match="prior is the share of a class"):
        PositiveOrRest(0.5, prior=prior)


def test_a_temperature_is_positive():
    with pytest.raises(ValueError, match="temperature must be positive"):
        PositiveOrRest(0.0)


@pytest.mark.parametrize("groups", [[0, 0, 1, 2], [0, 0, 0, 1, 1]])
def test_one_positive_each(groups):
    with pytest.raises(ValueError, match="needs exactly one positive, got"):
        PositiveOrRest()(torch.eye(len(groups)), Positives()(torch.tensor(groups)))


def test_positives_of_other_points():
    with pytest.raises(ValueError, match="Each of the 6 anchors"):
        PositiveOrRest()(torch.eye(6), partner(4))


def test_without_negatives():
    with pytest.raises(ValueError, match="no negative"):
        PositiveOrRest()(torch.eye(2), partner(2))


def test_named_candidates():
    candidates = Candidates.all(2, "outcomes")
    positives = Sparse.from_neighbors(torch.tensor([[1], [0], [3], [2]]), candidates=Candidates.others(4))
    assert PositiveOrRest()(torch.eye(4), positives, candidates=candidates).candidates is candidates
