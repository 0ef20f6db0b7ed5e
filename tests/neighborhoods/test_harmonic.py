"""The harmonic kernel: a power of the distance, its limits and its corners."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import grad, gradcheck
from torch.nn import functional as F

from torchicon.core import Candidates, block_budget, kl
from torchicon.neighborhoods import Harmonic, Positives, StudentT

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def weights(a, b, exponent):
    return torch.linalg.vector_norm(a[:, None] - b, dim=-1) ** -exponent


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("d", [1, 2, 6])
def test_rows_are_powers_of_distances(exponent, d, normal):
    a, b = normal(5, d), normal(7, d)
    expected = weights(a, b, exponent)
    torch.testing.assert_close(Harmonic(exponent)(a, b).dense(), expected / expected.sum(1, keepdim=True), **EXACT)
    with_self_out = weights(a, a, exponent).fill_diagonal_(0.0)
    expected = with_self_out / with_self_out.sum(1, keepdim=True)
    torch.testing.assert_close(Harmonic(exponent)(a).dense(), expected, **EXACT)


@pytest.mark.parametrize("size", [2**20, 200])
@pytest.mark.parametrize("d", [2, 6])
def test_gradient(d, size, normal):
    """Of anchors and keys, and where the anchors are the keys, whatever the tile."""
    a, b = normal(6, d).requires_grad_(), normal(6, d).requires_grad_()
    p = Positives()(torch.arange(6) // 2)
    target = torch.arange(6) ^ 1
    own = torch.eye(6, dtype=torch.bool)
    dist = ((a[:, None] - a).square().sum(-1) + own).sqrt()  # no root of 0, which would have no gradient
    logits = (-3 * dist.log()).masked_fill(own, -math.inf)
    expected = F.cross_entropy(logits, target, reduction="sum")
    with block_budget(size):
        found = kl(p, Harmonic(3.0)(a)).sum()
        torch.testing.assert_close(found, expected, **EXACT)
        torch.testing.assert_close(grad(found, a), grad(expected, a), **EXACT)
        candidates = Candidates.all(6)
        pairs = Positives()(torch.arange(6) // 2, candidates=candidates)
        assert gradcheck(lambda a, b: kl(pairs, Harmonic(3.0)(a, b, candidates=candidates)), (a, b))


@pytest.mark.parametrize("scale", [1e-6, 0.3, 1e9])
def test_no_unit_of_length(scale, normal):
    """Scale invariance (theory 1)."""
    x = normal(8, 3)
    torch.testing.assert_close(Harmonic(2.5)(scale * x).dense(), Harmonic(2.5)(x).dense(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("exponent", [1.5, 2.0, 5.0])
def test_limit_of_student_t(exponent, normal):
    """df = n - 1 and a scale that goes to 0: an error of order 2 in the scale (theory 1), in values and gradients."""
    x = normal(8, 3).requires_grad_()
    weight = normal(8, 8)

    def value_and_gradient(recipe):
        value = (recipe(x).dense() * weight).sum()
        return torch.cat([value[None], grad(value, x)[0].flatten()]).detach()

    limit = value_and_gradient(Harmonic(exponent))
    errors = [
        float((value_and_gradient(StudentT(exponent - 1, scale=s)) - limit).abs().max()) for s in (1e-2, 1e-3, 1e-4)
    ]
    orders = [math.log10(first / second) for first, second in itertools.pairwise(errors)]
    assert orders == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize("exponent", [0.5, 3.0])
def test_slope_is_the_derivative(exponent):
    sq_dist = torch.logspace(-20, 20, 41, dtype=torch.float64).requires_grad_()
    kernel = Harmonic(exponent)
    torch.testing.assert_close(kernel.slope(sq_dist), grad(kernel.log_kernel(sq_dist).sum(), sq_dist)[0], **EXACT)
    at_zero = torch.zeros(1, requires_grad=True)
    assert kernel.slope(at_zero) == grad(kernel.log_kernel(at_zero).sum(), at_zero)[0] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [2, 6])
@pytest.mark.parametrize("exponent", [1.0, 8.0])
class TestCoincidentPoints:
    def test_they_take_all_the_mass(self, dtype, d, exponent, normal):
        x = normal(6, d).to(dtype)
        x[1] = x[2] = x[0]
        rows = Harmonic(exponent)(x).dense()
        together = torch.block_diag(0.5 * (1 - torch.eye(3)), torch.zeros(3, 3)).to(dtype)
        torch.testing.assert_close(rows[:3], together[:3], rtol=0, atol=1e-4)
        assert rows.isfinite().all()
        torch.testing.assert_close(rows.sum(1), torch.ones(6, dtype=dtype))

    def test_their_pair_has_no_gradient(self, dtype, d, exponent, normal):
        """It has all the mass and is no force: what is left is the attraction of each to its own partner, in full."""
        x = normal(4, d).to(dtype)
        x[1] = x[0]
        x.requires_grad_()
        found = kl(Positives()(torch.tensor([0, 1, 0, 1])), Harmonic(exponent)(x))[:2]
        assert found.isfinite().all()
        assert (found > 40 * exponent).all()
        [gradient] = grad(found.sum(), x)
        apart = (x[:2] - x[2:]).detach()
        force = exponent * apart / apart.square().sum(1, keepdim=True)
        torch.testing.assert_close(gradient, torch.cat([force, -force]), rtol=1e-4, atol=1e-4)

    def test_all_on_one_place(self, dtype, d, exponent, normal):
        x = normal(1, d).expand(4, d).to(dtype).requires_grad_()
        found = kl(Positives()(torch.arange(4) // 2), Harmonic(exponent)(x))
        torch.testing.assert_close(found, torch.full((4,), math.log(3), dtype=dtype), rtol=1e-4, atol=0)
        assert torch.equal(grad(found.sum(), x)[0], torch.zeros_like(x))


@given(st.one_of(st.floats(max_value=0.0), st.just(math.nan), st.integers(-3, 0)))
def test_the_exponent_is_positive(value):
    with pytest.raises(ValueError, match="exponent must be positive, got"):
        Harmonic(value)
