"""Kernel recipes against plain torch: values, and gradients of points and of what is learned with them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import t as student
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Candidates, block_budget, entropy, kl
from torchicon.neighborhoods import Cosine, Dot, Gaussian, Perplexity, Positives, StudentT

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def sq_dist(a, b):
    return (a[:, None] - b).square().sum(-1)


LOGITS = {  # theory 1, "Kernels"; s is the parameter
    "gaussian": (lambda s: Gaussian(s), lambda a, b, s: -sq_dist(a, b) / (2 * s**2)),
    "student": (lambda s: StudentT(3.0, scale=s), lambda a, b, s: -2 * (sq_dist(a, b) / (3 * s**2)).log1p()),
    "dot": (lambda s: Dot(s), lambda a, b, s: a @ b.T / s),
    "cosine": (lambda s: Cosine(s), lambda a, b, s: F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / s),
}


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("d", [1, 2, 6])
def test_learned_parameter(name, d, normal):
    """The loss, and the gradients of both sets of points and of the parameter, are those of a softmax of the logits."""
    recipe, logits = LOGITS[name]
    a, b = normal(6, d).requires_grad_(), normal(6, d).requires_grad_()
    parameter = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    positive = torch.arange(6) // 2
    p = Positives()(positive)
    partner = torch.arange(6) ^ 1
    masked = logits(a, a, parameter).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
    expected = F.cross_entropy(masked, partner, reduction="sum")
    oracle = grad(expected, (a, parameter))
    for size in (2**20, 200):
        with block_budget(size):
            found = kl(p, recipe(parameter)(a)).sum()
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(grad(found, (a, parameter)), oracle, **EXACT)
    weight = normal(6, 6)
    expected = (logits(a, b, parameter).softmax(1) * weight).sum()
    found = (recipe(parameter)(a, b).dense() * weight).sum()
    oracle, gradients = (grad(value, (a, b, parameter)) for value in (expected, found))
    torch.testing.assert_close(gradients, oracle, **EXACT)


@pytest.mark.parametrize("name", LOGITS)
def test_a_number_is_a_constant_parameter(name, normal):
    recipe, logits = LOGITS[name]
    a = normal(5, 3)
    expected = softmax(np.where(np.eye(5, dtype=bool), -np.inf, logits(a, a, 0.6).numpy()), axis=1)
    torch.testing.assert_close(recipe(0.6)(a).dense(), torch.from_numpy(expected), **EXACT)
    with_self = recipe(0.6)(a, candidates=Candidates.all(5)).dense()
    torch.testing.assert_close(with_self, logits(a, a, 0.6).softmax(1), **EXACT)


def test_student_t_is_the_density_of_one_dimension(normal):
    """In one dimension the weights are scipy's density with the same degrees of freedom and scale."""
    x = normal(6, 1)
    density = student(df=2.5, scale=0.7).pdf((x - x.T).numpy())
    np.fill_diagonal(density, 0.0)
    expected = density / density.sum(1, keepdims=True)
    torch.testing.assert_close(StudentT(2.5, scale=0.7)(x).dense(), torch.from_numpy(expected), **EXACT)


def test_student_t_becomes_gaussian(normal):
    """Error of order 1 / nu (theory 1)."""
    x = normal(6, 3)
    errors = [(StudentT(nu, scale=1.3)(x).dense() - Gaussian(1.3)(x).dense()).abs().max() for nu in (1e3, 1e4, 1e5)]
    assert 0.95 < math.log10(errors[0] / errors[1]) < 1.05
    assert 0.95 < math.log10(errors[1] / errors[2]) < 1.05


def test_cosine_is_gaussian_on_the_sphere(normal):
    """sigma^2 = tau (theory 1)."""
    x = F.normalize(normal(6, 4), dim=1)
    torch.testing.assert_close(Cosine(0.3)(x).dense(), Gaussian(math.sqrt(0.3))(x).dense(), **EXACT)


@pytest.mark.parametrize("make", [Gaussian, Dot, Cosine, StudentT, lambda s: StudentT(scale=s)])
@given(st.one_of(st.floats(max_value=0.0), st.just(math.nan), st.integers(-3, 0)))
def test_parameters_are_positive(make, value):
    with pytest.raises(ValueError, match=r"(bandwidth|temperature|df|scale) must be positive, got"):
        make(value)


def test_coincident_points_have_gradients():
    """Distance 0 is no corner: squares are differentiable everywhere."""
    x = torch.zeros(4, 6, requires_grad=True)
    p = Positives()(torch.arange(4) // 2)
    for recipe in (Gaussian(), StudentT(), Cosine(), Dot()):
        assert torch.equal(grad(kl(p, recipe(x)).sum(), x)[0], torch.zeros(4, 6))


class TestPerplexity:
    @pytest.mark.parametrize("value", [1.5, 5.0, 20.0])
    @pytest.mark.parametrize("size", [2**20, 5000])
    def test_effective_number_of_neighbors(self, value, size, normal):
        """exp(H(p_i)) = perplexity (theory 1), whatever the spread around each point."""
        x = normal(40, 5) * torch.logspace(-1, 1, 40, dtype=torch.float64)[:, None]
        with block_budget(size):
            p = Gaussian(Perplexity(value))(x)
        torch.testing.assert_close(entropy(p).exp(), torch.full((40,), value).double(), rtol=1e-9, atol=0)

    def test_rows_are_gaussian(self, normal):
        """log p_ij - log p_ik = -beta_i (d_ij - d_ik), with one positive beta_i for each row."""
        x = normal(12, 3)
        p = Gaussian(Perplexity(4.0))(x)
        off = ~torch.eye(12, dtype=torch.bool)
        log_p = p.log_at(None, slice(0, 12))[off].reshape(12, 11)
        d = sq_dist(x, x)[off].reshape(12, 11)
        beta = -(log_p[:, :1] - log_p[:, 1:]) / (d[:, :1] - d[:, 1:])
        torch.testing.assert_close(beta, beta[:, :1].expand(-1, 10), rtol=1e-7, atol=0)
        assert (beta > 0).all()

    def test_over_other_points(self, normal):
        x, keys = normal(6, 3).requires_grad_(), normal(9, 3)
        p = Gaussian(Perplexity(3.0))(x, keys)
        torch.testing.assert_close(entropy(p).exp(), torch.full((6,), 3.0).double(), rtol=1e-9, atol=0)

    @pytest.mark.parametrize("scale", [1e-12, 1e-5, 1.0, 1e5])
    def test_more_duplicates_than_neighbors(self, scale, generator):
        """Uniform on the duplicates, as sharp as it can be, in float32 and any unit."""
        x = torch.randn(20, 2, generator=generator)
        x[:10] = x[0]
        dense = Gaussian(Perplexity(5.0))(x * scale).dense()
        torch.testing.assert_close(dense[:10, :10], (1 - torch.eye(10)) / 9)
        assert (dense[:10, 10:] < 1e-6).all()
        assert dense.isfinite().all()

    @given(st.floats(max_value=1.0, exclude_max=True) | st.just(math.nan))
    def test_at_least_one_neighbor(self, value):
        with pytest.raises(ValueError, match="at least 1"):
            Perplexity(value)

    def test_more_neighbors_than_points(self, normal):
        with pytest.raises(ValueError, match="row 0 has 4"):
            Gaussian(Perplexity(4.5))(normal(5, 2))


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan")])
def test_a_learned_temperature_that_left_its_range_is_named(value):
    temperature = torch.tensor(0.5, requires_grad=True)
    q = Cosine(temperature)
    with torch.no_grad():
        temperature.fill_(value)
    with pytest.raises(ValueError, match="learn its logarithm"):
        q(torch.eye(3))
