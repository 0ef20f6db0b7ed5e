"""Banks and queues: their recurrences against closed forms and plain Python, checkpoints, and refusals."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchicon.candidates import MemoryBank, ProbabilityBank, Queue
from torchicon.methods import find

DOUBLE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(kind, n=6, d=4, **options):
    return kind(n, d, generator=seeded(), dtype=DOUBLE, **options)


@pytest.mark.parametrize("kind", [MemoryBank, ProbabilityBank])
def test_a_start_depends_on_the_seed_alone(kind):
    before = torch.get_rng_state()
    first, second = kind(5, 3, generator=seeded(1)), kind(5, 3, generator=seeded(1))
    assert torch.equal(first.rows, second.rows)
    assert not torch.equal(first.rows, kind(5, 3, generator=seeded(2)).rows)
    assert torch.equal(before, torch.get_rng_state())


def test_starts_lie_where_rows_live():
    torch.testing.assert_close(make(MemoryBank).rows.norm(dim=1), torch.ones(6, dtype=DOUBLE))
    rows = ProbabilityBank(4000, 3, generator=seeded(), dtype=DOUBLE).rows
    assert bool((rows >= 0).all())
    torch.testing.assert_close(rows.sum(1), torch.ones(4000, dtype=DOUBLE))
    # Dirichlet(1, 1, 1): every mean is 1/3 and every variance 1/18
    torch.testing.assert_close(rows.mean(0), torch.full((3,), 1 / 3, dtype=DOUBLE), atol=0.02, rtol=0)
    torch.testing.assert_close(rows.var(0), torch.full((3,), 1 / 18, dtype=DOUBLE), atol=0.005, rtol=0)


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9])
def test_probabilities_unroll_to_a_weighted_sum(rate):
    """F5: after T updates a row is rate^T M_0 + (1 - rate) sum_t rate^(T - t) g_t; other rows do not move."""
    bank = make(ProbabilityBank, rate=rate)
    start = bank.rows.clone()
    steps = torch.randn(7, 4, dtype=DOUBLE, generator=seeded(3)).softmax(1)
    for step in steps:
        bank.update(torch.tensor([2]), step[None])
    weights = torch.tensor([(1 - rate) * rate ** (7 - t) for t in range(1, 8)], dtype=DOUBLE)
    torch.testing.assert_close(bank.rows[2], rate**7 * start[2] + weights @ steps)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(bank.rows[others], start[others])


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
def test_unit_rows_move_by_the_printed_rule(rate):
    bank = make(MemoryBank, rate=rate)
    expected = bank.rows.clone()
    generator = seeded(4)
    for _ in range(5):
        features = torch.randn(2, 4, dtype=DOUBLE, generator=generator)
        for row, feature in zip((4, 1), features, strict=True):
            mixed = rate * expected[row] + (1 - rate) * feature
            expected[row] = mixed / mixed.square().sum().sqrt()
        bank.update(torch.tensor([4, 1]), features)
    torch.testing.assert_close(bank.rows, expected)


def test_a_rate_of_zero_remembers_the_last_view_only():
    bank = make(MemoryBank, rate=0.0)
    bank.update(torch.tensor([3]), torch.tensor([[0.0, 0.0, 2.0, 0.0]]))
    assert bank.rows[3].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_row_without_a_direction_stays():
    bank = make(MemoryBank)
    before = bank.rows.clone()
    bank.update(torch.tensor([0]), -before[:1])
    assert torch.equal(bank.rows, before)


def test_features_leave_no_gradient_behind():
    bank = make(MemoryBank)
    bank.update(torch.tensor([0]), torch.ones(1, 4, requires_grad=True))
    assert not bank.rows.requires_grad


@pytest.mark.parametrize("kind", [MemoryBank, ProbabilityBank])
def test_a_bank_goes_on_exactly_from_its_checkpoint(kind):
    def go_on(bank, seed):
        generator = seeded(seed)
        for _ in range(3):
            index = torch.randperm(6, generator=generator)[:3]
            bank.update(index, torch.randn(3, 4, dtype=DOUBLE, generator=generator).softmax(1))

    bank = make(kind)
    go_on(bank, 1)
    resumed = make(kind)
    resumed.load_state_dict(bank.state_dict())
    go_on(bank, 2)
    go_on(resumed, 2)
    assert torch.equal(bank.rows, resumed.rows)


def test_samples_are_uniform_and_seeded():
    bank = MemoryBank(5, 2, generator=seeded())
    drawn = bank.sample(50_000, seeded(7))
    assert torch.equal(drawn, bank.sample(50_000, seeded(7)))
    shares = torch.bincount(drawn, minlength=5) / 50_000
    torch.testing.assert_close(shares, torch.full((5,), 0.2), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("index", "features", "message"),
    [
        ([6], torch.ones(1, 4), "rows 0 to 5, but index\\[0\\] is 6"),
        ([0, -1], torch.ones(2, 4), "index\\[1\\] is -1"),
        ([0.0], torch.ones(1, 4), "must be \\(b,\\) integers"),
        ([2, 1, 2], torch.ones(3, 4), "Row 2 is updated 2 times"),
        ([0], torch.ones(1, 3), "features \\(b, 4\\)"),
        ([0], torch.ones(4), "features \\(b, 4\\)"),
        ([0, 1], torch.ones(1, 4), "2 indices and 1 rows"),
        ([0], torch.full((1, 4), torch.nan), "row 0 of features is not finite"),
    ],
)
def test_a_bank_refuses_what_it_could_not_remember(index, features, message):
    bank = make(MemoryBank)
    before = bank.rows.clone()
    with pytest.raises(ValueError, match=message):
        bank.update(torch.tensor(index), features)
    assert torch.equal(bank.rows, before)


@pytest.mark.parametrize("features", [torch.tensor([[0.5, 0.6, 0.0, 0.0]]), torch.tensor([[1.5, -0.5, 0.0, 0.0]])])
def test_a_bank_of_probabilities_refuses_anything_else(features):
    with pytest.raises(ValueError, match="apply a softmax, or use a MemoryBank"):
        make(ProbabilityBank).update(torch.tensor([0]), features)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 1.0}, "in \\[0, 1\\)"), ({"n": 0}, "n must be"), ({"d": 0}, "must be a whole number")],
)
@pytest.mark.parametrize("kind", [MemoryBank, ProbabilityBank])
def test_a_bank_refuses_senseless_sizes(kind, options, message):
    with pytest.raises(ValueError, match=message):
        make(kind, **options)


def test_a_fresh_bank_serves_instance_discrimination():
    """The rows are what the table's method takes: their own views make a loss near zero, strangers one near log n."""
    bank = MemoryBank(40, 64, generator=seeded(), dtype=DOUBLE)
    index = torch.arange(8)
    stranger = torch.randn(8, 64, dtype=DOUBLE, generator=seeded(9))
    loss = find("IR (InfoNCE)").loss
    assert loss({"z": bank.rows[:8], "bank": bank.rows, "index": index}) < 0.1
    assert loss({"z": stranger, "bank": bank.rows, "index": index}) > 3.0


@given(size=st.integers(1, 6), batches=st.lists(st.integers(0, 9), max_size=6))
@settings(max_examples=60)
def test_a_queue_is_first_in_first_out(size, batches):
    queue, expected, key = Queue(size, 1), deque(maxlen=size), 0
    for batch in batches:
        keys = list(range(key, key + batch))
        queue.push(torch.tensor(keys, dtype=torch.float32)[:, None])
        expected.extend(keys)
        key += batch
        assert len(queue) == len(expected)
        assert sorted(queue.rows[:, 0].tolist()) == sorted(expected)


def test_a_queue_goes_on_exactly_from_its_checkpoint():
    queue, resumed = Queue(5, 2), Queue(5, 2)
    queue.push(torch.ones(3, 2))
    resumed.load_state_dict(queue.state_dict())
    for each in (queue, resumed):
        each.push(torch.arange(8.0).view(4, 2))
    assert torch.equal(queue.rows, resumed.rows)
    assert len(resumed) == 5


def test_the_rows_of_a_queue_survive_a_push_in_the_middle_of_a_graph():
    queue = Queue(2, 1)
    queue.push(torch.tensor([[1.0], [2.0]]))
    z = torch.ones(1, 1, requires_grad=True)
    loss = (z @ queue.rows.T).sum()
    queue.push(torch.tensor([[5.0]]))
    loss.backward()
    assert z.grad.item() == 3.0


@pytest.mark.parametrize(
    ("features", "message"),
    [(torch.ones(1, 3), "features \\(b, 2\\)"), (torch.tensor([[1.0, torch.inf]]), "not finite")],
)
def test_a_queue_refuses_what_is_no_key(features, message):
    with pytest.raises(ValueError, match=message):
        Queue(3, 2).push(features)
