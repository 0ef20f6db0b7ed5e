"""Exponential kernels: powers of the distance against a softmax, and their corner at distance 0."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Candidates, block_budget, kl
from torchicon.core.score import pairwise_sq_dist
from torchicon.neighborhoods import Cosine, Exponential, Gaussian, Positives

EXACT = {"rtol": 1e-11, "atol": 1e-12}
GAMMAS = [0.5, 1.0, 1.7, 2.0]


def powers(a, b, gamma):
    """Distances to the power gamma by loops; a pair of coincident points is a constant 0."""
    rows = []
    for x in a:
        row = [(x - y).norm() ** gamma if not torch.equal(x, y) else torch.zeros((), dtype=a.dtype) for y in b]
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("d", [1, 2, 6])
@pytest.mark.parametrize("coincident", [False, True])
def test_loss_and_gradients(gamma, d, coincident, normal):
    """Of the points and the temperature, streamed in one tile and in many, with and without a pair at distance 0."""
    a = normal(6, d)
    if coincident:
        a[3] = a[0]
        a[5] = a[4]
    a.requires_grad_()
    temperature = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    logits = (-powers(a, a, gamma) / temperature).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
    expected = F.cross_entropy(logits, torch.arange(6) ^ 1, reduction="sum")
    oracle = grad(expected, (a, temperature))
    p = Positives()(torch.arange(6) // 2)
    for size in (2**20, 200):
        with block_budget(size):
            found = kl(p, Exponential(gamma, temperature)(a)).sum()
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(grad(found, (a, temperature)), oracle, **EXACT)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gathered_pairs_and_keys(gamma, normal):
    """`paired`, which few edges among many keys take, with a pair at distance 0."""
    a, b = normal(3, 5), normal(40, 5)
    b[7] = a[1]
    a.requires_grad_()
    b.requires_grad_()
    columns = torch.tensor([[3], [7], [39]])
    temperature = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    found = Exponential(gamma, temperature)(a, b).score_at(columns, slice(0, 3)).sum()
    expected = (-powers(a, b, gamma) / temperature).gather(1, columns).sum()
    torch.testing.assert_close(found, expected, **EXACT)
    inputs = (a, b, temperature)
    torch.testing.assert_close(grad(found, inputs), grad(expected, inputs), **EXACT)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("d", [2, 6])
def test_all_points_coincide(gamma, d):
    """A constant kernel, and no NaN: by the streamed normalizer, `slope` and autograd alike."""
    x = torch.ones(4, d, requires_grad=True)
    q = Exponential(gamma, 0.1)
    (gradient,) = grad(kl(Positives()(torch.arange(4) // 2), q(x)).sum(), x)
    assert torch.equal(gradient, torch.zeros(4, d))
    assert torch.equal(q(x.detach()).dense().diagonal(), torch.zeros(4))
    assert torch.equal(grad(q.paired(x, x[:, None]).sum(), x)[0], torch.zeros(4, d))
    assert q.slope(torch.zeros(1)).isfinite().all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_slope(gamma, normal):
    sq_dist = normal(9).square().requires_grad_()
    q = Exponential(gamma)
    (expected,) = grad(q.log_kernel(sq_dist).sum(), sq_dist)
    torch.testing.assert_close(q.slope(sq_dist), expected, **EXACT)


def test_views_that_nearly_coincide_in_float32(generator):
    """An expanded square is off by 1e-7 |x|^2, whose root is larger than the distance of these views."""
    x = torch.randn(4, 16, generator=generator).repeat(2, 1) + 1e-4 * torch.randn(8, 16, generator=generator)
    p = Positives()(torch.arange(4).repeat(2))
    y, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    found, expected = (kl(p, Exponential(1.0, 0.5)(points)).sum() for points in (y, exact))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    force, true = grad(found, y)[0].double(), grad(expected, exact)[0]
    assert (force - true).norm() < 1e-3 * true.norm()
    by_expansion = -pairwise_sq_dist(x, x).sqrt()
    assert (by_expansion - Exponential(1.0).pairwise(x, x)).abs().max() > 1e-4


def test_gamma_2_is_gaussian_and_on_the_sphere_simclr(normal):
    x = normal(6, 4)
    torch.testing.assert_close(Exponential(2.0, 0.8)(x).dense(), Gaussian(math.sqrt(0.4))(x).dense(), **EXACT)
    unit = F.normalize(x, dim=1)
    torch.testing.assert_close(Exponential(2.0, 0.6)(unit).dense(), Cosine(0.3)(x).dense(), **EXACT)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_mean_over_candidates(gamma, normal):
    """In closed form where gamma is 2, over all pairs otherwise."""
    x = normal(6, 5)
    mean = -powers(x, x, gamma).sum(1) / 0.3 / 5
    torch.testing.assert_close(Exponential(gamma, 0.3)(x).mean_score(Candidates.others(6)), mean, **EXACT)
    closed = Exponential(gamma).mean_pairwise(x, x)
    assert (closed is None) == (gamma != 2)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_positive_definite_up_to_2(gamma, normal):
    """Schoenberg: the kernel matrix has no negative eigenvalue."""
    x = normal(40, 3) * 0.2
    kernel = Exponential(gamma).pairwise(x, x).exp()
    assert torch.linalg.eigvalsh(kernel).min() > -1e-12
    if gamma == 2:
        torch.testing.assert_close(kernel, torch.from_numpy(rbf_kernel(x.numpy(), gamma=1.0)), **EXACT)


def test_above_2_it_would_not_be(normal):
    """Why a larger gamma is refused: gamma = 3 has a clearly negative eigenvalue."""
    kernel = (-powers(x := normal(40, 3) * 0.2, x, 3.0)).exp()
    assert torch.linalg.eigvalsh(kernel).min() < -1e-3
    with pytest.raises(ValueError, match=r"gamma must be at most 2, got 3\.0: .* not positive definite"):
        Exponential(3.0)


@given(st.floats(max_value=0.0), st.booleans())
def test_parameters_are_positive(value, of_gamma):
    with pytest.raises(ValueError, match="must be positive, got"):
        Exponential(value) if of_gamma else Exponential(1.0, value)


def test_a_learned_temperature_that_left_its_range_is_named():
    temperature = torch.tensor(0.5, requires_grad=True)
    q = Exponential(1.0, temperature)
    with torch.no_grad():
        temperature.fill_(-1.0)
    with pytest.raises(ValueError, match="learn its logarithm"):
        q(torch.eye(3))
