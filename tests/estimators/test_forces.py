"""Attraction, repulsion and their kernels: values and gradients against autograd of the dense KL, and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.manifold._t_sne import _kl_divergence
from tests.estimators.dense_embedding import dense_kl, edges, neighborhoods, normal, to_dense

from torchicon.core import kernel_sum
from torchicon.core.fft_sum import LatticeField
from torchicon.estimators._attraction import Attraction
from torchicon.estimators._edges import Edges, joint_edges, row_edges
from torchicon.estimators._embedding import Objective
from torchicon.estimators._radial import Gaussian, StudentT
from torchicon.estimators._repulsion import JointRepulsion, RowRepulsion, log_normalizers

KERNELS = [StudentT(), StudentT(df=0.5, scale=2.0), StudentT(df=3.0), Gaussian(), Gaussian(variance=2.0)]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_kernel_derivatives(kernel):
    d = torch.linspace(0, 9, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kernel.value(d).sum(), d)
    (log_slope,) = torch.autograd.grad(kernel.log_value(d * 1.0).sum(), d)
    plain = d.detach()
    torch.testing.assert_close(kernel.slope(plain), slope)
    torch.testing.assert_close(kernel.log_slope(plain), log_slope)
    torch.testing.assert_close(kernel.value(plain), kernel.log_value(plain).exp())
    assert kernel.width == pytest.approx(float((-1 / slope[0]).sqrt()))


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("normalization", ["joint", "row"])
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_gradient_and_value_by_autograd(kernel, normalization, d):
    make = joint_edges if normalization == "joint" else row_edges
    p = make(*neighborhoods())
    y = normal(40, d).requires_grad_()
    expected = dense_kl(to_dense(p), y, kernel, normalization)
    (slope,) = torch.autograd.grad(expected, y)
    y, expected = y.detach(), expected.detach()
    objective = Objective(p, kernel, normalization, torch.float64)
    gradient, log_normalizer = objective.gradient(y)
    torch.testing.assert_close(objective.anchors * gradient, slope, rtol=1e-9, atol=1e-11)
    assert objective.value(y, float(log_normalizer)) == pytest.approx(float(expected), rel=1e-10)
    assert objective.exact(y) == pytest.approx(float(expected), rel=1e-10)


def test_exaggeration_multiplies_the_attraction_alone():
    p = joint_edges(*neighborhoods())
    y, kernel = normal(40, 2).requires_grad_(), StudentT()
    before = p.weight.clone()
    scaled = 12 * to_dense(p)
    log_k = kernel.log_value((y[:, None] - y[None]).square().sum(-1)).masked_fill(torch.eye(40).bool(), -torch.inf)
    attraction = -(scaled * torch.where(scaled > 0, log_k, 0.0)).sum()
    (slope,) = torch.autograd.grad(attraction + log_k.logsumexp((0, 1)), y)
    gradient, _ = Objective(p, kernel, "joint", torch.float64).gradient(y.detach(), 12.0)
    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-11)
    assert torch.equal(p.weight, before)


def test_scikit_learn_value_and_gradient():
    """Its dense KL and gradient, which carry the same factor 4."""
    p = joint_edges(*neighborhoods())
    y = normal(40, 2)
    condensed = to_dense(p).numpy()[np.triu_indices(40, 1)]
    kl, slope = _kl_divergence(y.numpy().ravel(), condensed, 1.0, 40, 2)
    # it floors P and Q at machine epsilon
    gradient, _ = Objective(p, StudentT(), "joint", torch.float64).gradient(y)
    np.testing.assert_allclose(gradient.numpy().ravel(), slope, rtol=1e-6, atol=1e-10)
    assert Objective(p, StudentT(), "joint", torch.float64).exact(y) == pytest.approx(kl, rel=1e-6)


@pytest.mark.parametrize(("kernel", "d"), [(StudentT(), 2), (Gaussian(), 2), (Gaussian(), 3)], ids=str)
def test_interpolated_repulsion(kernel, d, monkeypatch):
    """Outlying points of a wide cloud are summed exactly; the others err by a percent or so."""
    monkeypatch.setattr(kernel_sum, "_PAIR_COST", 1e9)
    n = 1500
    y = normal(n, d) * 3
    y[:5] += torch.arange(10, 60, 10)[:, None] if isinstance(kernel, StudentT) else torch.arange(4, 9)[:, None]
    mass = torch.full((n,), 1 / n, dtype=torch.float64)
    row, joint = RowRepulsion(kernel, mass), JointRepulsion(kernel)
    assert isinstance(row._sums.field(y, y.new_ones(n, 1)), LatticeField)
    expected, value = row._by_softmax(y, torch.arange(n), mass)
    found, found_value = row(y)
    assert float((found - expected).norm() / expected.norm()) < 2e-2
    # the outlying rows themselves do not depend on interpolated normalizers
    assert float((found - expected)[4].norm() / expected[4].norm()) < 2e-2
    assert float(found_value) == pytest.approx(float(value), abs=5e-3)
    assert float(joint(y)[1]) == pytest.approx(joint.exact(y), abs=1e-3)
    assert row.exact(y) == pytest.approx(float(value), rel=1e-10)


def test_log_normalizers_do_not_underflow():
    y = torch.tensor([[0.0], [1e3], [2e3]])
    torch.testing.assert_close(log_normalizers(y, Gaussian()), torch.tensor([-1e6, -1e6 + np.log(2), -1e6]).double())


def test_attraction_blocks_serve_a_hub():
    """One row joined to all others, most rows of degree one, one row alone."""
    n = 300
    index = torch.zeros(n - 1, 1, dtype=torch.long)
    index[0] = 1
    directed = row_edges(index, torch.zeros(n - 1, 1))
    p = Edges(torch.cat([directed.indptr, directed.indptr[-1:]]), directed.columns, directed.weight)
    y = normal(n, 2).requires_grad_()
    expected = -(to_dense(p) * StudentT().log_value((y[:, None] - y[None]).square().sum(-1))).sum()
    (slope,) = torch.autograd.grad(expected, y)
    attraction = Attraction(p, StudentT(), torch.float64)
    torch.testing.assert_close(attraction.gradient(y.detach()), slope)
    assert attraction.value(y.detach()) == pytest.approx(float(expected.detach()))


def test_joint_edges_are_the_symmetrized_rows():
    index, log_p = neighborhoods()
    directed = to_dense(row_edges(index, log_p))
    torch.testing.assert_close(to_dense(joint_edges(index, log_p)), (directed + directed.T) / 80)


def test_rows_without_neighbors_drop_out():
    """Empty rows have no KL of their own but still repel."""
    p = edges([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])
    y = normal(3, 2).requires_grad_()
    own = torch.eye(3, dtype=torch.bool)
    log_k = StudentT().log_value((y[:, None] - y[None]).square().sum(-1)).masked_fill(own, -torch.inf)
    log_q = log_k.log_softmax(1)
    expected = -(log_q[0, 1] + log_q[1, 0])
    (slope,) = torch.autograd.grad(expected, y)
    objective = Objective(p, StudentT(), "row", torch.float64)
    gradient, _ = objective.gradient(y.detach())
    torch.testing.assert_close(2 * gradient, slope)
    assert objective.exact(y.detach()) == pytest.approx(float(expected.detach()))


def test_bad_kernels():
    with pytest.raises(ValueError, match="df"):
        StudentT(df=0.0)
    with pytest.raises(ValueError, match="variance"):
        Gaussian(variance=np.inf)
