"""Annealed sizes, and teachers that follow their students."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from torchicon.candidates import Anneal, EMATeacher
from torchicon.mappers import mlp, orthonormal


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**5), st.integers(0, 10**5))
def test_sizes_go_straight_from_start_to_end_and_stay(start, end, iterations, iteration):
    size = Anneal(start, end, iterations)
    assert size(0) == start
    assert size(math.ceil(iterations / 2)) == size(iterations) == end
    assert min(start, end) <= size(iteration) <= max(start, end)
    assert (size(iteration) - size(iteration + 1)) * (start - end) >= 0
    assert abs(size(iteration) - max(0, 1 - 2 * iteration / iterations) * (start - end) - end) <= 0.5 + 1e-6


@pytest.mark.parametrize("arguments", [(0, 1, 1), (5, 0, 1), (5, 1, 0), (5.5, 1, 1)])
def test_a_schedule_refuses_what_is_no_size(arguments):
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        Anneal(*arguments)


def test_a_negative_iteration_is_refused():
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Anneal(5, 1, 10)(-1)


def small():
    return nn.Sequential(mlp(3, 4, hidden=(5,), dtype=torch.float64), nn.BatchNorm1d(4, dtype=torch.float64))


def moved(student, seed):
    """A student a step further: weights and statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
    student(torch.randn(8, 3, dtype=torch.float64, generator=generator))
    return student


def test_weights_are_averaged_and_buffers_copied():
    """Unrolled: m^T theta_0 + (1 - m) sum_t m^(T - t) theta_t."""
    student = small()
    teacher = EMATeacher(student, 0.9)
    history = [[p.detach().clone() for p in student.parameters()]]
    for seed in range(4):
        teacher.update(moved(student, seed))
        history.append([p.detach().clone() for p in student.parameters()])
    shares = [0.9**4] + [0.1 * 0.9 ** (4 - t) for t in range(1, 5)]
    for place, own in enumerate(teacher.module.parameters()):
        torch.testing.assert_close(own, sum(s * step[place] for s, step in zip(shares, history, strict=True)))
    for own, new in zip(teacher.module.buffers(), student.buffers(), strict=True):
        assert torch.equal(own, new)
    assert int(teacher.updates) == 4


@pytest.mark.parametrize(("momentum", "follows"), [(0.0, True), (1.0, False)])
def test_the_ends_of_momentum(momentum, follows):
    student = small()
    teacher = EMATeacher(student, momentum)
    start = copy.deepcopy(teacher.module.state_dict())
    teacher.update(moved(student, 0))
    expected = student.state_dict() if follows else start
    for name, parameter in teacher.module.named_parameters():
        assert torch.equal(parameter, expected[name])


def test_a_schedule_of_momentum_counts_updates_across_a_checkpoint():
    seen = []

    def schedule(update):
        seen.append(update)
        return 1 - 0.5 / (1 + update)

    student = small()
    teacher = EMATeacher(student, schedule)
    teacher.update(moved(student, 0))
    resumed = EMATeacher(small(), schedule)
    resumed.load_state_dict(teacher.state_dict())
    moved(student, 1)
    teacher.update(student)
    resumed.update(student)
    assert seen == [0, 1, 1]
    for own, other in zip(teacher.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(own, other)


def test_no_gradient_passes_and_none_is_asked_for():
    student = small()
    teacher = EMATeacher(student, 0.5)
    x = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    assert not teacher(x).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())


def test_train_and_eval_reach_the_copy():
    student = moved(small(), 0)
    x = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    by_own_batch = EMATeacher(student, 0.5).train()(x)
    by_running_statistics = EMATeacher(student, 0.5).eval()(x)
    torch.testing.assert_close(by_running_statistics, copy.deepcopy(student).eval()(x))
    torch.testing.assert_close(by_own_batch, copy.deepcopy(student).train()(x))
    assert not torch.allclose(by_own_batch, by_running_statistics)


def test_a_constrained_student_keeps_its_constraint():
    """An average of orthonormal maps is not one; the average is taken before the constraint."""
    student = orthonormal(5, 2, dtype=torch.float64)
    teacher = EMATeacher(student, 0.5)
    with torch.no_grad():
        student.parametrizations.weight.original += 1.0
    teacher.update(student)
    weight = teacher.module.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(2, dtype=torch.float64))


def test_a_stranger_is_refused():
    teacher = EMATeacher(small(), 0.5)
    with pytest.raises(ValueError, match=r"differ in their parameters \['0.0.bias', '0.0.weight'"):
        teacher.update(mlp(3, 4))


@pytest.mark.parametrize("momentum", [-0.1, 1.5])
def test_a_momentum_beyond_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match="must lie in \\[0, 1\\]"):
        EMATeacher(small(), momentum)
    with pytest.raises(ValueError, match="must lie in \\[0, 1\\]"):
        EMATeacher(small(), lambda _: momentum).update(small())
