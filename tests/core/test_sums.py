"""Kernel sums: exact tiles against the dense formula, FFT against exact tiles, gradients against autograd."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchicon.core import sums
from torchicon.core.fft_sum import Lattice, LatticeField, Spectra
from torchicon.core.numerics import block_budget
from torchicon.core.sums import ExactField, KernelSum, kernel_sum

KERNELS = {
    "cauchy": lambda d: 1 / (1 + d),
    "gaussian": lambda d: torch.exp(-d),
    "student_half": lambda d: (1 + 2 * d) ** -0.75,
    "wide": lambda d: torch.exp(-d / 50),
}
WIDTHS = {"cauchy": 1.0, "gaussian": 1.0, "student_half": 1.5**-0.5, "wide": 50**0.5}


def points(n: int, d: int, span: float, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, d, generator=generator, dtype=torch.float64) * span).to(dtype)


def charges(n: int, r: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, r, generator=generator, dtype=torch.float64).to(dtype)


def dense(y: Tensor, v: Tensor, kernel, sources: Tensor) -> Tensor:
    return kernel((y[:, None] - sources[None]).square().sum(-1)) @ v


def lattice_field(sources, v, kernel, *, spacing=0.5, box=None) -> LatticeField:
    sums = KernelSum(kernel)
    low, high = (sources.amin(0), sources.amax(0)) if box is None else box
    lattice = Lattice.covering(low, high, spacing, 1 << 25)
    return LatticeField(sources, v, Spectra(sums.kernel, sums.slope), lattice)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_exact_is_the_dense_formula_for_any_tile(name, d):
    y, sources, v = points(31, d, 4.0), points(47, d, 4.0, seed=2), charges(47, 3)
    expected = dense(y, v, KERNELS[name], sources)
    sums = KernelSum(KERNELS[name])
    for budget in (1, 5_000, 1 << 26):
        with block_budget(budget):
            found = ExactField(sources, v, sums.kernel, sums.slope).values(y)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [ExactField, LatticeField])
def test_gradients_are_the_derivative_of_the_sums(make):
    """By autograd of the dense formula; the slope of the kernel comes from autograd too."""
    y, sources, v = points(20, 2, 3.0).requires_grad_(), points(25, 2, 3.0, seed=3), charges(25, 2)
    kernel = KERNELS["cauchy"]
    values = dense(y, v, kernel, sources)
    expected = torch.stack([torch.autograd.grad(values[:, r].sum(), y, retain_graph=True)[0] for r in range(2)], dim=1)
    y = y.detach()
    if make is ExactField:
        field, tolerance = ExactField(sources, v, kernel, KernelSum(kernel).slope), 1e-12
    else:
        box = (y.new_zeros(2), y.new_full((2,), 3.0))
        field, tolerance = lattice_field(sources, v, kernel, spacing=0.05, box=box), 1e-5
    assert error(field.gradients(y), expected) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("d", "span"), [(1, 50.0), (2, 1e-3), (2, 1.0), (2, 60.0), (3, 12.0)])
def test_fft_errs_little(dtype, name, d, span):
    """Largest error over the largest value, at half the kernel's width between nodes: values .5 %, gradients 7 %."""
    y = points(600, d, span, dtype)
    v = torch.ones(600, 1, dtype=dtype)
    sums = KernelSum(KERNELS[name])
    field = lattice_field(y, v, KERNELS[name], spacing=0.5 * WIDTHS[name])
    exact = ExactField(y.double(), v.double(), sums.kernel, sums.slope)
    assert error(field.values(y), exact.values(y.double())) < 5e-3
    assert error(field.gradients(y), exact.gradients(y.double())) < 7e-2


def test_fft_error_falls_with_the_spacing():
    """Fourth order: halving the spacing leaves about a sixteenth."""
    y, v = points(500, 2, 8.0), charges(500, 1)
    sums = KernelSum(KERNELS["gaussian"])
    exact = ExactField(y, v, sums.kernel, sums.slope)
    fields = [lattice_field(y, v, KERNELS["gaussian"], spacing=spacing) for spacing in (0.2, 0.1, 0.05)]
    for read in (lambda field: field.values(y), lambda field: field.gradients(y)):
        errors = [float((read(field) - read(exact)).norm()) for field in fields]
        orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
        assert min(orders) > 3.5


def test_total_is_unbiased():
    """The normalizer of t-SNE: errors at single points cancel in the sum."""
    y = points(1500, 2, 60.0)
    ones = torch.ones(1500, 1, dtype=y.dtype)
    expected = dense(y, ones, KERNELS["cauchy"], y).sum()
    found = lattice_field(y, ones, KERNELS["cauchy"]).values(y).sum()
    assert abs(float(found / expected) - 1) < 2e-4


def test_far_from_the_origin_float32_keeps_what_it_can():
    """A small map far away: only its own differences count."""
    y = points(300, 2, 1.0, torch.float32) + 1e4
    ones = torch.ones(300, 1)
    expected = dense(y.double(), ones.double(), KERNELS["cauchy"], y.double())
    assert error(lattice_field(y, ones, KERNELS["cauchy"]).values(y), expected) < 1e-4


def test_spectra_are_kept_until_the_lattice_changes():
    calls = []

    def kernel(sq_dist: Tensor) -> Tensor:
        calls.append(1)
        return torch.exp(-sq_dist)

    sums = KernelSum(kernel, lambda sq_dist: -torch.exp(-sq_dist))
    y = points(2000, 2, 20.0)
    v = torch.ones(2000, 1, dtype=y.dtype)
    for shift in (0.0, 0.3, -100.0):
        field = sums.field(y + shift, v)
        assert isinstance(field, LatticeField)
        field.values(y + shift)
    assert len(calls) == 1
    sums.field(y * 2, v).values(y * 2)
    assert len(calls) == 2


@pytest.mark.parametrize("n", [40, 3000])
def test_kernel_sum_for_other_points(n):
    sources, y = points(n, 2, 20.0), points(2000, 2, 30.0, seed=5) - 5
    v = torch.ones(n, 2, dtype=y.dtype)
    assert error(kernel_sum(y, v, KERNELS["cauchy"], sources=sources), dense(y, v, KERNELS["cauchy"], sources)) < 5e-3


def test_self_is_included():
    y = torch.tensor([[0.0, 0.0], [1e4, 0.0]])
    v = torch.tensor([[2.0], [3.0]])
    torch.testing.assert_close(kernel_sum(y, v, KERNELS["gaussian"]), v)


def test_a_huge_map_gets_a_coarser_lattice_not_more_memory():
    low, high = torch.zeros(2), torch.full((2,), 1e6)
    lattice = Lattice.covering(low, high, 0.5, 1 << 20)
    assert lattice.nodes <= 1 << 20
    assert lattice.spacing > 0.5


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 200), d=st.integers(1, 3), log_span=st.floats(-30, 3), seed=st.integers(0, 99))
def test_fft_of_any_cloud_is_near(n, d, log_span, seed):
    """Where single points count, a pair's largest error does."""
    y = points(n, d, min(10.0**log_span, 15.0 if d == 3 else 1e3), seed=seed)
    ones = torch.ones(n, 1, dtype=y.dtype)
    found = lattice_field(y, ones, KERNELS["cauchy"]).values(y)
    assert error(found, dense(y, ones, KERNELS["cauchy"], y)) < 3.5e-2


@pytest.mark.parametrize(
    ("y", "v", "sources", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 1), None, "must be"),
        (torch.zeros(3, 2), torch.zeros(4, 1), None, "one row a source"),
        (torch.zeros(3, 2), torch.zeros(4, 1), torch.zeros(4, 3), "dimensions"),
    ],
)
def test_bad_input(y, v, sources, message):
    with pytest.raises(ValueError, match=message):
        kernel_sum(y, v, KERNELS["cauchy"], sources=sources)
    with pytest.raises(ValueError, match="spacing"):
        KernelSum(KERNELS["cauchy"], spacing=0.0)


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_of_points_sources_and_charges(d, shared):
    """Against autograd of the dense formula; the points may be the sources."""
    y, v = points(13, d, 3.0).requires_grad_(), charges(13 if shared else 9, 2).requires_grad_()
    sources = y if shared else points(9, d, 3.0, seed=2).requires_grad_()
    learned = (y, v) if shared else (y, v, sources)
    weight = charges(13, 2)
    expected = torch.autograd.grad((dense(y, v, KERNELS["cauchy"], sources) * weight).sum(), learned)
    total = kernel_sum(y, v, KERNELS["cauchy"], sources=None if shared else sources)
    found = torch.autograd.grad((total * weight).sum(), learned)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_gradients_through_the_lattice(monkeypatch):
    monkeypatch.setattr(sums, "_EXACT_PAIRS", 0)
    monkeypatch.setattr(sums, "_PAIR_COST", 1e9)
    y, v = points(300, 2, 12.0).requires_grad_(), torch.ones(300, 1, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(dense(y, v, KERNELS["cauchy"], y).sum(), (y, v))
    found = torch.autograd.grad(kernel_sum(y, v, KERNELS["cauchy"]).sum(), (y, v))
    for ours, theirs in zip(found, expected, strict=True):
        assert error(ours, theirs) < 3e-2  # as a field's own gradients: a percent or two of K(0) a pair


def test_no_second_derivative():
    y = points(3, 2, 1.0).requires_grad_()
    with pytest.raises(NotImplementedError, match="second derivative"):
        torch.autograd.grad(kernel_sum(y, charges(3, 1), KERNELS["cauchy"]).sum(), y, create_graph=True)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_energy_is_the_sum_over_pairs(d):
    """By Parseval on the lattice, exactly what reading the values would give; and near the dense sum."""
    y, v = points(400, d, 9.0), charges(400, 2)
    field = lattice_field(y, v, KERNELS["cauchy"])
    assert float(field.energy()) == pytest.approx(float((field.values(y) * v).sum()), rel=1e-12)
    exact = ExactField(y, v, KERNELS["cauchy"], KernelSum(KERNELS["cauchy"]).slope)
    expected = float((dense(y, v, KERNELS["cauchy"], y) * v).sum())
    assert float(exact.energy()) == pytest.approx(expected, rel=1e-12)
    assert float(field.energy()) == pytest.approx(expected, rel=5e-2)


def test_a_field_carries_no_gradient():
    with pytest.raises(ValueError, match="no gradient"):
        KernelSum(KERNELS["cauchy"]).field(torch.zeros(3, 2, requires_grad=True), torch.zeros(3, 1))
