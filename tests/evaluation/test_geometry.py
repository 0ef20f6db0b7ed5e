"""Alignment and uniformity on the unit sphere, against torch.pdist and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import i0e

from torchicon.evaluation import alignment, geometry, uniformity


def unit(points):
    return torch.nn.functional.normalize(torch.tensor(points), dim=1)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 6), st.floats(0.1, 20))
def test_uniformity_is_the_formula_of_the_paper(seed, n, d, t):
    z = np.random.default_rng(seed).standard_normal((n, d))
    expected = torch.pdist(unit(z)).square().mul(-t).exp().mean().log().item()
    assert uniformity(z, t=t) == pytest.approx(expected, abs=1e-12, rel=1e-9)
    assert -4 * t - 1e-9 <= uniformity(z, t=t) <= 1e-12


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 6), st.floats(0.25, 4))
def test_alignment_is_the_formula_of_the_paper(seed, n, d, power):
    a, b = np.random.default_rng(seed).standard_normal((2, n, d))
    expected = (unit(a) - unit(b)).norm(dim=1).pow(power).mean().item()
    assert alignment(a, b, power=power) == pytest.approx(expected, rel=1e-9)
    assert alignment(a, b, power=power) == pytest.approx(alignment(b, a, power=power), rel=1e-12)


@pytest.mark.parametrize("block_cells", [1, 70, 10_000])
def test_the_block_size_does_not_matter(monkeypatch, block_cells):
    z = np.random.default_rng(0).standard_normal((23, 4))
    expected = torch.pdist(unit(z)).square().mul(-2).exp().mean().log().item()
    monkeypatch.setattr(geometry, "_BLOCK_CELLS", block_cells)
    assert uniformity(z) == pytest.approx(expected, abs=1e-12)


def test_half_at_each_pole():
    """n + n antipodal points: n (n - 1) pairs at distance 0 and n^2 at distance 2."""
    n, t = 5, 0.7
    z = np.array([[0.0, 3.0]] * n + [[0.0, -0.1]] * n)
    expected = math.log((n * (n - 1) + n**2 * math.exp(-4 * t)) / (n * (2 * n - 1)))
    assert uniformity(z, t=t) == pytest.approx(expected, abs=1e-12)


def test_uniform_on_the_circle():
    """Equally spaced points tend to the integral over the circle, e^{-2t} I_0(2t); each also has itself, left out."""
    n, t = 400, 2.0
    angle = 2 * np.pi * np.arange(n) / n
    expected = math.log((n * i0e(2 * t) - 1) / (n - 1))
    assert uniformity(np.column_stack([np.cos(angle), np.sin(angle)]), t=t) == pytest.approx(expected, abs=1e-12)


def test_a_sharp_kernel_does_not_underflow():
    assert uniformity([[1.0, 0.0], [-1.0, 0.0]], t=1e4) == pytest.approx(-4e4)


def test_equal_and_opposite_views():
    z = np.random.default_rng(1).standard_normal((8, 3))
    assert alignment(z, 3 * z) == pytest.approx(0.0, abs=1e-30)
    assert alignment(z, -z, power=3) == pytest.approx(8.0)
    assert uniformity(np.ones((4, 2))) == pytest.approx(0.0, abs=1e-12)


@given(st.integers(0, 10_000))
def test_lengths_and_rotations_change_nothing(seed):
    """Rows as long as floats can be are only directions."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 9, 4))
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    length = 10.0 ** rng.uniform(-250, 250, (9, 1))
    assert uniformity(length * (a @ rotation)) == pytest.approx(uniformity(a), abs=1e-9)
    assert alignment(length * (a @ rotation), b @ rotation) == pytest.approx(alignment(a, b), abs=1e-9)


points = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniformity([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), r"z must have no row of zeros.*row 1 is \(2 of 3"),
        (lambda: alignment(points, np.eye(3, 2)), r"second must have no row of zeros.*row 2"),
        (lambda: alignment(points, points[:2]), r"first has 3 and second has 2"),
        (lambda: alignment(points, np.eye(3)), r"same columns, but have 2 and 3"),
        (lambda: alignment(points, points, power=0), r"power must be positive and finite, but is 0"),
        (lambda: uniformity(points[:1]), r"at least 2 rows, but z has 1"),
        (lambda: uniformity(points, t=math.nan), r"t must be positive and finite, but is nan"),
        (lambda: uniformity([[1.0, math.nan]] * 2), r"z\[0, 1\] is nan"),
        (lambda: uniformity([1.0, 2.0]), r"z must have one row a point"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
