"""Descents: against scikit-learn, from awkward starts, interrupted; and new points on a finished map."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from tests.estimators.dense_embedding import CAUCHY, GAUSSIAN, csr, dense_kl, normal, p_of, small_p, to_dense
from torch import Tensor

from torchicon import Exponential, StudentT
from torchicon.estimators.embedding.descent import Descent, embed
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import Objective
from torchicon.estimators.embedding.placing import place
from torchicon.neighborhoods.nearest import nearest
from torchicon.neighborhoods.perplexity import calibrate

SHORT = Descent(exaggerated_iterations=60, iterations=90)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, Tensor]:
    bunch = load_digits()
    x, labels = bunch.data[:600], bunch.target[:600]
    start = PCA(3, svd_solver="full").fit_transform(x)
    return x, labels, torch.tensor(start / start[:, 0].std() * 1e-4, dtype=torch.float32)


def test_tsne_reaches_the_kl_of_scikit_learn(digits):
    """All maps measured by the same exact code on the same affinities; of three starts the median, to one percent.

    Where a descent ends depends on its last bits: starts that differ by 1 % end within 2 % of each other.
    """
    x, _, start = digits
    p = p_of(x, 90, 30.0, "joint")
    theirs = TSNE(perplexity=30, init="pca", random_state=0).fit_transform(x)
    reference = Objective(p, CAUCHY, "joint", torch.float64).exact(torch.from_numpy(theirs).double())
    jitter = [0 * start[:, :2], normal(600, 2).float(), normal(600, 2, seed=1).float()]
    ours = [embed(p, start[:, :2] * (1 + 0.01 * noise), CAUCHY) for noise in jitter]
    assert ours[0].positions.dtype == torch.float32
    assert np.median([found.objective for found in ours]) <= 1.01 * reference
    assert ours[0].objective == pytest.approx(ours[0].history[-1][1], abs=2e-2)


@pytest.mark.parametrize(
    ("d", "kernel", "normalization"),
    [
        (2, GAUSSIAN, "row"), (2, CAUCHY, "row"), (2, GAUSSIAN, "joint"), (2, MapKernel.of(StudentT(0.5)), "joint"),
        (1, CAUCHY, "joint"), (1, GAUSSIAN, "row"), (3, CAUCHY, "joint"), (2, MapKernel.of(Exponential()), "row"),
    ],
)  # fmt: skip
def test_every_form_descends(digits, d, kernel, normalization):
    """Far below the start, without a blow-up, and neighbors on the map share their label."""
    x, labels, start = digits
    p = p_of(x, 90, 30.0, normalization)
    found = embed(p, start[:, :d], kernel, normalization=normalization, descent=SHORT)
    assert found.objective < 0.75 * found.history[0][1]
    assert float(found.positions.abs().max()) < 300
    beside = labels[nearest(found.positions, 1).index.squeeze(1).numpy()]
    assert (beside == labels).mean() > (0.6 if d == 1 else 0.85)


@pytest.mark.parametrize("start", ["zeros", "pairs", "spread"])
@pytest.mark.parametrize("normalization", ["joint", "row"])
def test_coincident_starts(start, normalization):
    """Half of the points are copies of the other half. Nothing is NaN, and copies that start together part."""
    x = normal(60, 5).repeat(2, 1)
    y = {"zeros": torch.zeros(120, 2), "pairs": x[:, :2].float() * 1e-4, "spread": normal(120, 2).float()}[start]
    p = p_of(x, 30, 10.0, normalization)
    result = embed(p, y, CAUCHY, normalization=normalization, descent=SHORT)
    assert result.positions.isfinite().all()
    assert all(np.isfinite(kl) for _, kl in result.history)
    assert len(torch.unique(result.positions, dim=0)) == 120
    assert torch.equal(embed(p, y, CAUCHY, normalization=normalization, descent=SHORT).positions, result.positions)


def test_a_gaussian_map_that_starts_far_apart():
    """Kernels of all pairs underflow at the start; the attraction gathers the points."""
    found = embed(small_p("row"), normal(40, 2).float() * 1e3, GAUSSIAN, normalization="row")
    assert found.positions.isfinite().all()
    assert float(found.positions.abs().max()) < 20


def test_interrupt_keeps_a_whole_map():
    def stop(state) -> None:
        if state.iteration == 50:
            raise KeyboardInterrupt

    p = small_p("joint")
    weight = p.data.copy()
    with pytest.warns(UserWarning, match="after 50 iterations is kept"):
        found = embed(p, normal(40, 2) * 1e-4, CAUCHY, callback=stop)
    full = embed(p, normal(40, 2) * 1e-4, CAUCHY, descent=Descent(exaggerated_iterations=50, iterations=0))
    assert found.interrupted
    assert not full.interrupted
    assert found.iterations == 50
    assert torch.equal(found.positions, full.positions)
    assert (p.data == weight).all()


def test_callback_sees_the_history_and_the_end_is_exact():
    seen = []
    p = small_p("joint")
    found = embed(p, normal(40, 2), CAUCHY, descent=SHORT, callback=lambda s: seen.append(s.history[-1]))
    assert tuple(seen) == found.history
    assert [i for i, _ in seen] == [0, 50, 100]
    expected = float(dense_kl(to_dense(p), found.positions, CAUCHY, "joint"))
    assert found.objective == pytest.approx(expected, rel=1e-9)


def test_descent_ends_where_the_gradient_does():
    p = small_p("row")
    found = embed(p, normal(40, 2), GAUSSIAN, normalization="row", descent=Descent(exaggeration=1.0, tolerance=1e-5))
    assert found.iterations < 1000
    gradient, _ = Objective(p, GAUSSIAN, "row", torch.float64).gradient(found.positions)
    assert float(gradient.norm()) <= 1e-5


@pytest.mark.parametrize("kernel", [CAUCHY, GAUSSIAN], ids=["cauchy", "gaussian"])
def test_placed_points_are_at_minima_of_their_own_rows(digits, kernel):
    """The dense row KL rises in every direction around a placed point."""
    x, labels, start = digits
    old = np.arange(600) % 7 != 0
    p = p_of(x[old], 60, 20.0, "joint")
    frozen = embed(p, start[old][:, :2], kernel, descent=Descent(iterations=150)).positions.double()
    near = nearest(x[old], 60, queries=x[~old])
    log_p = calibrate(near.value, 20.0).log_p
    placed = place(near.index, log_p, frozen, kernel)

    def row_kl(y: Tensor) -> Tensor:
        log_k = kernel.log_value((y[:, None] - frozen[None]).square().sum(-1))
        log_q = log_k.gather(1, near.index) - log_k.logsumexp(1, keepdim=True)
        return (log_p.exp() * (log_p - log_q)).sum(1)

    at = row_kl(placed)
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        aside = placed + 0.2 * torch.tensor([np.cos(angle), np.sin(angle)])
        assert ((row_kl(aside) - at) > -1e-3).all()
    assert (at <= row_kl(frozen[near.index[:, 0]]) + 1e-2).double().mean() > 0.9
    beside = labels[old][nearest(frozen, 1, queries=placed).index.squeeze(1).numpy()]
    assert (beside == labels[~old]).mean() > 0.85
    # alone or in company: the same place
    torch.testing.assert_close(place(near.index[3:4], log_p[3:4], frozen, kernel), placed[3:4], rtol=0, atol=1e-3)
    assert torch.equal(place(near.index, log_p, frozen, kernel), placed)


@settings(max_examples=12, deadline=None)
@given(n=st.integers(2, 30), d=st.integers(1, 4), seed=st.integers(0, 99), scale=st.floats(0, 1e3))
def test_any_small_map(n, d, seed, scale):
    k = min(3, n - 1)
    p = p_of(normal(n, 3, seed=seed).round(), k, 1.0 + (k > 1), "joint")
    descent = Descent(exaggerated_iterations=20, iterations=20)
    result = embed(p, normal(n, d, seed=seed).float() * scale, CAUCHY, descent=descent)
    assert result.positions.isfinite().all()
    assert result.objective >= -1e-9


@pytest.mark.parametrize(
    ("p", "start", "normalization", "message"),
    [
        (csr([[0, 0.5], [0.5, 0]]), torch.zeros(3, 2), "joint", r"\(2, d\)"),
        (csr([[0, 0.5], [0.5, 0]]), torch.zeros(2, 2, dtype=torch.long), "joint", "floating"),
        (csr([[0, 0.5], [0.5, 0]]), torch.tensor([[0.0], [np.nan]]), "joint", "row 1 is not"),
        (csr([[0, 1.0], [1.0, 0]]), torch.zeros(2, 2), "joint", "All of p must sum to 1, got 2"),
        (csr([[0, 1.0], [0.5, 0]]), torch.zeros(2, 2), "row", "Row 1 of p must sum to 1, got 0.5"),
        (csr([[1.0, 0], [0, 0]]), torch.zeros(2, 2), "joint", "Anchor 0 has mass on itself"),
        (csr([[0, -0.5], [1.5, 0]]), torch.zeros(2, 2), "joint", "negative"),
        (csr([[0, 0], [0, 0]]), torch.zeros(2, 2), "row", "empty"),
    ],
)  # fmt: skip
def test_bad_input(p, start, normalization, message):
    with pytest.raises(ValueError, match=message):
        embed(p, start, CAUCHY, normalization=normalization)


@pytest.mark.parametrize(
    "settings",
    [{"exaggeration": 0.5}, {"iterations": -1}, {"learning_rate": 0.0}, {"momentum": 1.0}, {"exaggeration": np.inf}],
)
def test_bad_descent(settings):
    with pytest.raises(ValueError, match=next(iter(settings)).split("_")[0].capitalize() + "|" + next(iter(settings))):
        Descent(**settings)


@pytest.mark.parametrize(
    ("index", "log_p", "frozen", "message"),
    [
        (torch.zeros(2, 3).long(), torch.zeros(2, 2), torch.zeros(4, 2), "must be"),
        (torch.full((2, 3), 4), torch.zeros(2, 3), torch.zeros(4, 2), "0 .. 3"),
    ],
)
def test_bad_places(index, log_p, frozen, message):
    with pytest.raises(ValueError, match=message):
        place(index, log_p, frozen, CAUCHY)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_a_stiff_descent_goes_back_and_more_carefully(d):
    """Equal rows, a Gaussian and few points threw the map apart: repulsion can be stiffer than attraction."""
    p = p_of(torch.ones(20, 3), 15, 5.0, "row")
    result = embed(p, normal(20, d).float() * 1e-4, GAUSSIAN, normalization="row")
    assert result.objective < result.history[0][1]
    assert float(result.positions.abs().max()) < 100


@pytest.mark.parametrize("df", [10.0, 100.0, 1e6])
def test_light_tails_do_not_throw_the_map_apart(df):
    result = embed(small_p("joint"), normal(40, 2).float() * 1e-4, MapKernel.of(StudentT(df)), descent=SHORT)
    assert result.objective < result.history[0][1]
