"""Bounds on mutual information, held against the Gaussian whose value is known (theory 9), and against each other."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from torchicon.evaluation import infonce_bound, vince_bound

COVARIANCE = np.array([[2.0, 0.4], [0.4, 2.0]])
TRUE = -0.5 * math.log(1 - 0.2**2)  # 0.020411 nats
K = 128


def exact_critic(x, y):
    """log p(y | x) / p(y) of the Gaussian: with it InfoNCE is as tight as K allows."""
    variance = 2 * (1 - 0.2**2)
    return y**2 / 4 - (y - 0.2 * x) ** 2 / (2 * variance) - math.log(variance / 2) / 2


@pytest.fixture(scope="module")
def toy():
    """Scores of 4,000 anchors with their positive, and with pools of 2,560 draws from the marginal."""
    rng = np.random.default_rng(5)
    x, y = rng.multivariate_normal([0, 0], COVARIANCE, 4000).T
    pool = rng.normal(0, math.sqrt(2), (4000, 2560))
    return exact_critic(x, y), exact_critic(x[:, None], pool)


def test_the_critic_and_the_printed_value():
    x, y = np.meshgrid([-1.0, 0.3, 2.0], [-2.0, 0.1, 1.0])
    joint = multivariate_normal([0, 0], COVARIANCE).logpdf(np.dstack([x, y]))
    np.testing.assert_allclose(
        exact_critic(x, y), joint - norm.logpdf(x, 0, math.sqrt(2)) - norm.logpdf(y, 0, math.sqrt(2)), atol=1e-12
    )
    assert abs(TRUE - 0.020411) < 5e-7


def test_infonce_of_the_exact_critic_is_near_the_truth(toy):
    positive, pool = toy
    bound = infonce_bound(np.column_stack([positive, pool[:, : K - 1]]))
    assert bound.low < TRUE
    assert bound.value == pytest.approx(TRUE, abs=3 * (bound.high - bound.value) / 1.96)
    assert bound.high - bound.low < 0.02


def test_vince_falls_with_the_percentage(toy):
    """I12: from about 0.022 at 100 % to about -0.24 at 5 %."""
    positive, pool = toy
    values = [
        vince_bound(positive, pool, percent=p, n_negatives=K - 1, generator=np.random.default_rng(1)).value
        for p in (100, 90, 75, 50, 25, 10, 5)
    ]
    assert all(a > b for a, b in itertools.pairwise(values))
    assert values[0] == pytest.approx(TRUE, abs=0.012)
    assert values[-1] == pytest.approx(-0.24, abs=0.02)


def test_all_of_the_pool_is_infonce(toy):
    positive, pool = (part[:50] for part in toy)
    everything = vince_bound(positive, pool, n_negatives=pool.shape[1], generator=np.random.default_rng(0))
    expected = infonce_bound(np.column_stack([pool, positive]), positive=pool.shape[1])
    assert everything.value == pytest.approx(expected.value, abs=1e-12)
    assert everything.high == pytest.approx(expected.high, abs=1e-12)


def test_the_part_is_the_quantile(toy):
    """All of the p % drawn: the negatives are those at least as high as the (1 - p) quantile."""
    positive, pool = toy[0][:20], toy[1][:20, :40]
    bound = vince_bound(positive, pool, percent=30, n_negatives=12, generator=np.random.default_rng(0))
    gains = []
    for own, row in zip(positive, pool, strict=True):
        hard = row[row >= np.quantile(row, 0.7)]
        assert len(hard) == 12
        gains.append(own - logsumexp([own, *hard]) + math.log(13))
    assert bound.value == pytest.approx(np.mean(gains), abs=1e-12)
    assert bound.high - bound.value == pytest.approx(norm.ppf(0.975) * np.std(gains, ddof=1) / math.sqrt(20))


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 9), st.floats(0.1, 30))
def test_no_estimate_passes_log_k(seed, n, k, scale):
    """Whatever the critic (I13); and shifting an anchor's scores changes nothing."""
    scores = np.random.default_rng(seed).normal(0, scale, (n, k))
    bound = infonce_bound(scores)
    assert bound.low <= bound.value <= bound.ceiling == math.log(k)
    shifted = infonce_bound(scores + np.arange(n)[:, None] * 1e3)
    assert shifted.value == pytest.approx(bound.value, abs=1e-9)


def test_a_perfect_critic_reaches_the_ceiling():
    assert infonce_bound(1e4 * np.eye(5), positive=np.arange(5)).value == pytest.approx(math.log(5))


def test_hard_negatives_only_lower_the_estimate_of_any_critic():
    """I8: also of one that is wrong, in expectation over draws."""
    rng = np.random.default_rng(2)
    x, y = rng.multivariate_normal([0, 0], COVARIANCE, 2000).T
    negatives = rng.normal(0, math.sqrt(2), (2000, 120))

    def wrong(x, y):
        return np.sin(3 * x) * y - 0.3 * y**2

    pool = wrong(x[:, None], negatives)
    values = [
        vince_bound(wrong(x, y), pool, percent=p, n_negatives=15, generator=np.random.default_rng(0)).value
        for p in (100, 60, 30, 15)
    ]
    assert all(a > b for a, b in itertools.pairwise(values))


def test_the_interval_covers_as_often_as_it_says():
    """Fresh anchors each time; the target is the mean over many."""
    rng = np.random.default_rng(3)

    def estimate(n):
        x, y = rng.multivariate_normal([0, 0], COVARIANCE, n).T
        pool = rng.normal(0, math.sqrt(2), (n, 7))
        return infonce_bound(np.column_stack([exact_critic(x, y), exact_critic(x[:, None], pool)]), level=0.8)

    target = estimate(400_000).value
    hits = [bound.low <= target <= bound.high for bound in (estimate(100) for _ in range(400))]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.06)


def test_torch_tensors_are_scores_too():
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert infonce_bound(scores, positive=torch.zeros(5, dtype=torch.long)) == infonce_bound(scores.numpy())


def test_draws_are_seeded_and_touch_no_global_state(toy):
    positive, pool = (part[:20] for part in toy)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - to see that it is left alone
    first, second = (
        vince_bound(positive, pool, percent=50, n_negatives=9, generator=np.random.default_rng(4)) for _ in range(2)
    )
    assert first == second
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 - as above


def vince(positive=(0.0, 1.0), pool=((0.0, 1.0), (1.0, 0.0)), **options):
    return vince_bound(positive, pool, **{"n_negatives": 1, "generator": np.random.default_rng(0), **options})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: infonce_bound([0.0, 1.0]), "shape \\(n, d\\)"),
        (lambda: infonce_bound([[0.0, np.nan], [0.0, 1.0]]), "scores must be finite"),
        (lambda: infonce_bound([[0.0, 1.0]]), "at least 2 anchors"),
        (lambda: infonce_bound([[0.0], [1.0]]), "2 scores each"),
        (lambda: infonce_bound(np.eye(3), positive=3), "column in \\[0, 3\\)"),
        (lambda: infonce_bound(np.eye(3), positive=[0, 1]), "one for each of 3 rows"),
        (lambda: infonce_bound(np.eye(3), positive=0.5), "one for each of 3 rows"),
        (lambda: infonce_bound(np.eye(3), level=1.0), "level must lie"),
        (lambda: vince(positive=(0.0,)), "have 1 and 2"),
        (lambda: vince(percent=0), "percent must lie"),
        (lambda: vince(percent=101), "percent must lie"),
        (lambda: vince(n_negatives=3), "must lie in 1 .. 2, the 100 %"),
        (lambda: vince(percent=50, n_negatives=2), "must lie in 1 .. 1, the 50 %"),
        (lambda: vince(n_negatives=0), "n_negatives = 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
