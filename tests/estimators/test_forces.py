"""Attraction, repulsion and their kernels: values and gradients against autograd of the dense KL, and scikit-learn."""

import numpy as np
import pytest
import scipy.sparse as sps
import torch
from sklearn.manifold._t_sne import _kl_divergence
from tests.estimators.dense_embedding import CAUCHY, GAUSSIAN, csr, dense_kl, normal, small_p, to_dense

from torchicon import Exponential, Gaussian, Harmonic, Perplexity, StudentT, symmetrize
from torchicon.core import Candidates, Sparse, sums
from torchicon.core.fft_sum import LatticeField
from torchicon.estimators.embedding.attraction import Attraction
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import Objective, weights
from torchicon.estimators.embedding.repulsion import JointRepulsion, RowRepulsion, log_normalizers

SCORES = {
    "cauchy": StudentT(),
    "heavy": StudentT(0.5, scale=2.0),
    "light": StudentT(3.0),
    "gaussian": Gaussian(0.5**0.5),
    "wide": Gaussian(2.0),
    "laplace": Exponential(),
}
KERNELS = {name: MapKernel.of(score) for name, score in SCORES.items()}
CPU = torch.device("cpu")


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_kernel_derivatives(kernel):
    d = torch.linspace(0.01, 9, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kernel.value(d).sum(), d)
    (log_slope,) = torch.autograd.grad(kernel.log_value(d * 1.0).sum(), d)
    plain = d.detach()
    torch.testing.assert_close(kernel.slope(plain), slope)
    torch.testing.assert_close(kernel.log_slope(plain), log_slope)
    torch.testing.assert_close(kernel.value(plain), kernel.log_value(plain).exp())


@pytest.mark.parametrize("name", list(KERNELS)[:5])
def test_smooth_kernels_have_width_one(name):
    kernel = KERNELS[name]
    origin = torch.zeros(1, dtype=torch.float64)
    assert float(kernel.value(origin)) == 1
    assert float(kernel.slope(origin)) == pytest.approx(-1)


def test_the_unit_is_the_distance_of_points_that_counts_as_one():
    """The row kernel at distance `unit` is the map's at distance 1."""
    for name in ("heavy", "wide"):
        score, kernel = SCORES[name], KERNELS[name]
        points = torch.tensor([[0.0], [kernel.unit], [0.0]], dtype=torch.float64)
        row = score(points).dense()[0]
        assert float(row[1] / row[2]) == pytest.approx(float(kernel.value(torch.ones(1, dtype=torch.float64))))


@pytest.mark.parametrize("score", [Gaussian(Perplexity(5.0)), "tsne", None], ids=["perplexity", "text", "none"])
def test_what_is_no_kernel_of_the_distance(score):
    with pytest.raises(TypeError, match="one function of the distance"):
        MapKernel.of(score)


def test_a_kernel_without_a_value_at_zero():
    with pytest.raises(ValueError, match="must be 1 at distance 0"):
        MapKernel.of(Harmonic(2.0))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("normalization", ["joint", "row"])
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_gradient_and_value_by_autograd(kernel, normalization, d):
    p = small_p(normalization)
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
    p = small_p("joint")
    y, kernel = normal(40, 2).requires_grad_(), CAUCHY
    before = p.data.copy()
    scaled = 12 * to_dense(p)
    log_k = kernel.log_value((y[:, None] - y[None]).square().sum(-1)).masked_fill(torch.eye(40).bool(), -torch.inf)
    attraction = -(scaled * torch.where(scaled > 0, log_k, 0.0)).sum()
    (slope,) = torch.autograd.grad(attraction + log_k.logsumexp((0, 1)), y)
    gradient, _ = Objective(p, kernel, "joint", torch.float64).gradient(y.detach(), 12.0)
    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-11)
    assert (p.data == before).all()


def test_scikit_learn_value_and_gradient():
    """Its dense KL and gradient, which carry the same factor 4."""
    p = small_p("joint")
    y = normal(40, 2)
    condensed = to_dense(p).numpy()[np.triu_indices(40, 1)]
    kl, slope = _kl_divergence(y.numpy().ravel(), condensed, 1.0, 40, 2)
    # it floors P and Q at machine epsilon
    gradient, _ = Objective(p, CAUCHY, "joint", torch.float64).gradient(y)
    np.testing.assert_allclose(gradient.numpy().ravel(), slope, rtol=1e-6, atol=1e-10)
    assert Objective(p, CAUCHY, "joint", torch.float64).exact(y) == pytest.approx(kl, rel=1e-6)


@pytest.mark.parametrize(
    ("kernel", "d"), [(CAUCHY, 2), (GAUSSIAN, 2), (GAUSSIAN, 3)], ids=["cauchy-2", "gaussian-2", "gaussian-3"]
)
def test_interpolated_repulsion(kernel, d, monkeypatch):
    """Outlying points of a wide cloud are summed exactly; the others err by a percent or so."""
    monkeypatch.setattr(sums, "_PAIR_COST", 1e9)
    n = 1500
    y = normal(n, d) * 3
    y[:5] += torch.arange(10, 60, 10)[:, None] if kernel is CAUCHY else torch.arange(4, 9)[:, None]
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
    # half the spacing, in float64
    assert row.exact(y) == pytest.approx(float(value), abs=2e-5)
    monkeypatch.undo()
    monkeypatch.setattr(sums, "_NODE_COST", 1e9)
    assert row.exact(y) == pytest.approx(float(value), rel=1e-10)


def test_log_normalizers_do_not_underflow():
    y = torch.tensor([[0.0], [1e3], [2e3]])
    torch.testing.assert_close(log_normalizers(y, GAUSSIAN), torch.tensor([-1e6, -1e6 + np.log(2), -1e6]).double())


def test_attraction_blocks_serve_a_hub():
    """One row joined to all others, most rows of degree one, one row alone."""
    n = 300
    anchor, column = torch.arange(n - 1), torch.zeros(n - 1, dtype=torch.long)
    column[0] = 1
    p = sps.csr_array((np.ones(n - 1), (anchor.numpy(), column.numpy())), shape=(n, n))
    y = normal(n, 2).requires_grad_()
    expected = -(to_dense(p) * CAUCHY.log_value((y[:, None] - y[None]).square().sum(-1))).sum()
    (slope,) = torch.autograd.grad(expected, y)
    attraction = Attraction(p, CAUCHY, torch.float64, CPU)
    torch.testing.assert_close(attraction.gradient(y.detach()), slope)
    assert attraction.value(y.detach()) == pytest.approx(float(expected.detach()))


def test_joint_weights_are_the_symmetrized_rows():
    directed = to_dense(small_p("row"))
    torch.testing.assert_close(to_dense(small_p("joint")), (directed + directed.T) / 80)


def test_a_p_that_is_joint_already_stays():
    rows = Sparse.from_neighbors(torch.tensor([[1], [0], [0]]), candidates=Candidates.others(3))
    joint = weights(symmetrize(rows), "joint").toarray()
    np.testing.assert_allclose(joint, weights(rows, "joint").toarray(), rtol=1e-15)


def test_dense_rows_are_listed():
    x = normal(30, 3)
    dense = Gaussian(Perplexity(5.0))(x)
    torch.testing.assert_close(to_dense(weights(dense, "row")), dense.dense())
    with pytest.raises(ValueError, match="sparse neighborhoods"):
        weights(Gaussian()(torch.zeros(5001, 1)), "row")


def test_rows_without_neighbors_drop_out():
    """Empty rows have no KL of their own but still repel."""
    p = csr([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])
    y = normal(3, 2).requires_grad_()
    own = torch.eye(3, dtype=torch.bool)
    log_k = CAUCHY.log_value((y[:, None] - y[None]).square().sum(-1)).masked_fill(own, -torch.inf)
    log_q = log_k.log_softmax(1)
    expected = -(log_q[0, 1] + log_q[1, 0])
    (slope,) = torch.autograd.grad(expected, y)
    objective = Objective(p, CAUCHY, "row", torch.float64)
    gradient, _ = objective.gradient(y.detach())
    torch.testing.assert_close(2 * gradient, slope)
    assert objective.exact(y.detach()) == pytest.approx(float(expected.detach()))
