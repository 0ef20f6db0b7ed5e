"""Perplexity calibration against its law and scikit-learn's search."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.manifold._utils import _binary_search_perplexity
from torch import Tensor

from torchicon.neighborhoods.perplexity import calibrate


def distances(n: int = 50, k: int = 40, power: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, k, generator=generator, dtype=torch.float64) ** power * 10


def perplexity_of(log_p: Tensor) -> Tensor:
    return torch.special.entr(log_p.exp()).sum(1).exp()


@pytest.mark.parametrize("perplexity", [1.001, 1.5, 5.0, 30.0, 39.0, 39.999999])
@pytest.mark.parametrize("power", [0.1, 1.0, 4.0])
def test_law(perplexity, power):
    log_p, beta = calibrate(distances(power=power), perplexity)
    wanted = torch.full((50,), perplexity, dtype=torch.float64)
    torch.testing.assert_close(perplexity_of(log_p), wanted, rtol=1e-8, atol=0)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(50).double())
    # beta is the precision of the Gaussian in the units of the distances
    expected = (-beta[:, None] * distances(power=power)).log_softmax(1)
    torch.testing.assert_close(log_p, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("perplexity", [2.0, 10.0, 30.0])
def test_scikit_learn(perplexity):
    """Its search is float32 inside and stops at an entropy error of 1e-5."""
    d = distances().float()
    oracle = _binary_search_perplexity(d.numpy(), perplexity, 0)
    np.testing.assert_allclose(calibrate(d, perplexity).log_p.exp().numpy(), oracle, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e-6, 1e6, 1e30, 1e300])
def test_scale_does_not_matter(scale):
    reference, scaled = calibrate(distances(), 7.0), calibrate(distances() * scale, 7.0)
    torch.testing.assert_close(scaled.log_p, reference.log_p, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scaled.beta * scale, reference.beta, rtol=1e-9, atol=0)


def test_distances_of_many_magnitudes():
    exponents = torch.linspace(-140, 140, 60, dtype=torch.float64)
    log_p, _ = calibrate((10**exponents).unsqueeze(0), 5.0)
    assert float(perplexity_of(log_p)) == pytest.approx(5.0, rel=1e-8)


def test_left_out_cells():
    d = distances(n=4)
    d[:, 3] = math.inf
    d[1, 10:] = math.inf
    log_p, _ = calibrate(d, 5.0)
    assert (log_p[:, 3] == -math.inf).all()
    assert (log_p[1, 10:] == -math.inf).all()
    torch.testing.assert_close(perplexity_of(log_p), torch.full((4,), 5.0).double(), rtol=1e-8, atol=0)


def test_duplicates():
    rows = torch.tensor([[0.0] * 10, [5.0] * 10, [0.0] * 6 + [1.0] * 4, [0.0] * 3 + [1.0, 2.0, 3.0, 4.0, 5, 6, 7]])
    log_p, beta = calibrate(rows, 4.0)
    torch.testing.assert_close(log_p[:2].exp(), torch.full((2, 10), 0.1).double())
    assert beta[:2].tolist() == [0.0, 0.0]
    # six ties for the nearest: no precision makes it sharper than uniform on six
    torch.testing.assert_close(log_p[2].exp(), torch.tensor([1 / 6] * 6 + [0.0] * 4).double())
    assert beta[2] == math.inf
    assert float(perplexity_of(log_p[3:])) == pytest.approx(4.0, rel=1e-8)


def test_perplexity_of_all_candidates_is_uniform():
    log_p, beta = calibrate(distances(), 40.0)
    torch.testing.assert_close(log_p, torch.full((50, 40), -math.log(40)).double())
    assert (beta == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    npst.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 20)), elements=st.floats(0, 1e200)),
    st.floats(1, 20),
)
def test_any_distances(d, perplexity):
    perplexity = min(perplexity, d.shape[1])
    log_p, beta = calibrate(torch.from_numpy(d), perplexity)
    assert not log_p.isnan().any()
    assert (beta >= 0).all()
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(len(d)).double())
    # at least the perplexity, and more only with that many ties
    assert (perplexity_of(log_p) >= perplexity * (1 - 1e-8)).all()


@pytest.mark.parametrize(
    ("d", "perplexity", "message"),
    [
        (torch.rand(3, 5), 6.0, "row 0 has 5"),
        (torch.tensor([[1.0, 2.0, 3.0], [1.0, math.inf, math.inf]]), 2.0, "row 1 has 1"),
        (torch.rand(3, 5), 0.5, "at least 1"),
        (torch.rand(3, 5), math.nan, "at least 1"),
        (torch.tensor([[1.0, math.nan]]), 1.0, "row 0, column 1"),
        (torch.tensor([[1.0, -2.0]]), 1.0, "-2"),
        (torch.rand(5), 2.0, "must be"),
    ],
)
def test_bad_input(d, perplexity, message):
    with pytest.raises(ValueError, match=message):
        calibrate(d, perplexity)
