"""Balls, annuli, intersections and draws against sets in plain Python; clusterings against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from torchicon.candidates import Clusterings, annulus, ball, draw, intersection
from torchicon.core import Candidates, Sparse, block_budget

DOUBLE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def members(sets):
    """Columns of each anchor."""
    columns = sets.columns.tolist()
    return [set(columns[a:b]) for a, b in zip(sets.indptr[:-1].tolist(), sets.indptr[1:].tolist(), strict=True)]


@st.composite
def banks(draws):
    """(rows, own, cluster, size) of a small bank with distinct distances."""
    m, n, runs = draws(st.integers(2, 9)), draws(st.integers(1, 5)), draws(st.integers(1, 3))
    seed = draws(st.integers(0, 10_000))
    rows = torch.randn(m, 3, dtype=DOUBLE, generator=seeded(seed))
    own = torch.randint(0, m, (n,), generator=seeded(seed + 1))
    cluster = torch.randint(0, 3, (runs, m), generator=seeded(seed + 2))
    return rows, own, cluster, draws(st.integers(1, m))


def nearest(rows, center, size):
    return set(np.argsort(((rows - center) ** 2).sum(1).numpy())[:size].tolist())


@given(banks())
def test_a_ball_around_the_own_row_holds_it_and_the_nearest(bank):
    rows, own, _, size = bank
    expected = [nearest(rows, rows[i], size) for i in own]
    assert members(ball(rows[own], rows, size)) == members(ball(rows[own], rows, size, own=own)) == expected


@given(banks())
def test_a_ball_elsewhere_holds_the_own_row_only_if_told(bank):
    rows, own, _, size = bank
    centers = -3 * rows[own] + 1
    assert members(ball(centers, rows, size)) == [nearest(rows, center, size) for center in centers]
    for held, i, center in zip(members(ball(centers, rows, size, own=own)), own.tolist(), centers, strict=True):
        others = torch.arange(len(rows)) != i
        place = torch.arange(len(rows))[others].tolist()
        assert held == {i} | {place[j] for j in nearest(rows[others], center, size - 1)}


@given(banks())
def test_intersection_and_annulus_are_their_definitions(bank):
    rows, own, cluster, size = bank
    balls = ball(rows[own], rows, size, own=own)
    close = [{j for j in range(len(rows)) if (cluster[:, j] == cluster[:, i]).any()} for i in own.tolist()]
    inside, around = members(intersection(balls, cluster, own)), members(annulus(balls, cluster, own))
    for i, b, c, both, ring in zip(own.tolist(), members(balls), close, inside, around, strict=True):
        assert both == b & c
        assert ring == {i} | (b - c)


@given(banks(), st.integers(0, 100))
def test_a_draw_is_the_own_row_and_distinct_others_of_the_set(bank, seed):
    rows, own, _, size = bank
    balls = ball(rows[own], rows, max(2, size), own=own)
    count = max(1, size - 1)
    drawn = draw(balls, count, own=own, generator=seeded(seed))
    for i, b, chosen in zip(own.tolist(), members(balls), members(drawn), strict=True):
        assert i in chosen
        assert chosen <= b
        assert len(chosen) == 1 + count
    assert members(drawn) == members(draw(balls, count, own=own, generator=seeded(seed)))


def test_draws_are_uniform_and_differ_between_anchors():
    n = 20_000
    everything = Sparse.from_neighbors(torch.arange(5).expand(n, 5), candidates=Candidates.all(5))
    drawn = draw(everything, 2, own=torch.zeros(n, dtype=torch.long), generator=seeded())
    pairs = torch.bincount(torch.tensor([sum(2**j for j in chosen) for chosen in members(drawn)]))
    assert len(pairs[pairs > 0]) == 6  # {0} and each pair of the four others
    torch.testing.assert_close(pairs[pairs > 0] / n, torch.full((6,), 1 / 6), atol=0.012, rtol=0)


def test_balls_do_not_depend_on_the_blocks():
    rows = torch.randn(60, 8, dtype=DOUBLE, generator=seeded())
    whole = members(ball(rows, rows, 7))
    with block_budget(10_000):
        assert members(ball(rows, rows, 7)) == whole


def test_a_choice_carries_no_gradient():
    rows = torch.randn(6, 3, generator=seeded(), requires_grad=True)
    assert not ball(rows, rows, 2).log_p.requires_grad


ROWS = torch.randn(5, 2, generator=seeded())
BALLS = ball(ROWS[:2], ROWS, 3)
OWN = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ball(ROWS, ROWS, 6), "A ball of 6 rows is larger than the bank, which has 5"),
        (lambda: ball(ROWS, ROWS, 0), "size must be a whole number"),
        (lambda: ball(ROWS[:, :1], ROWS, 2), "must share d"),
        (lambda: ball(ROWS[:2], ROWS, 2, own=torch.tensor([0, 5])), "index\\[1\\] is 5"),
        (lambda: ball(ROWS[:2], ROWS, 2, own=torch.tensor([0])), "one column for each of 2 anchors"),
        (lambda: ball(ROWS, ROWS, 2, candidates=Candidates.all(4)), "Columns must lie in|must lie"),
        (lambda: intersection(BALLS, torch.zeros(5, dtype=torch.long), OWN), "shape \\(runs, 5\\)"),
        (lambda: annulus(BALLS, torch.zeros(2, 4, dtype=torch.long), OWN), "shape \\(runs, 5\\)"),
        (lambda: annulus(BALLS, torch.zeros(1, 5), OWN), "must be integers"),
        (lambda: annulus(BALLS, torch.zeros(1, 5, dtype=torch.long), OWN + 4), "index\\[1\\] is 5"),
        (lambda: draw(BALLS, 3, own=OWN, generator=seeded()), "3 negatives cannot be drawn for anchor 0"),
        (lambda: draw(BALLS, 0, own=OWN, generator=seeded()), "count must be"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_clusterings_find_what_is_there():
    points, label = make_blobs(200, 5, centers=4, cluster_std=0.3, random_state=0)
    clusterings = Clusterings(200, runs=3)
    clusterings.fit(torch.from_numpy(points), 4)
    assert max(adjusted_rand_score(label, run) for run in clusterings.cluster.numpy()) == 1.0


def test_clusterings_differ_between_runs_and_fits_and_resume_exactly():
    rows = torch.randn(100, 4, generator=seeded())
    before = torch.get_rng_state()
    first, resumed = Clusterings(100, runs=2, seed=3), Clusterings(100, runs=2, seed=3)
    first.fit(rows, 10)
    start = first.cluster.clone()
    assert not torch.equal(start[0], start[1])
    resumed.load_state_dict(first.state_dict())
    first.fit(rows, 10)
    resumed.fit(rows, 10)
    assert torch.equal(first.cluster, resumed.cluster)
    assert not torch.equal(first.cluster, start)
    assert torch.equal(before, torch.get_rng_state())


def test_before_the_first_fit_everything_is_close():
    cluster = Clusterings(5, runs=1).cluster
    assert members(intersection(BALLS, cluster, OWN)) == members(BALLS)
    assert members(annulus(BALLS, cluster, OWN)) == [{0}, {1}]


@pytest.mark.parametrize(
    ("rows", "clusters", "message"),
    [
        (torch.ones(5, 2), 6, "5 rows cannot make 6 clusters"),
        (torch.ones(4, 2), 2, "The bank has 5 rows"),
        (torch.full((5, 2), torch.nan), 2, "finite rows"),
        (torch.ones(5, 2), 0, "n_clusters must be"),
    ],
)
def test_clusterings_refuse_what_they_cannot_cluster(rows, clusters, message):
    with pytest.raises(ValueError, match=message):
        Clusterings(5).fit(rows, clusters)
