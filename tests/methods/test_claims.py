"""A claim must be able to fail: what is not a number passes nothing, and the worst step decides on an order."""

from __future__ import annotations

import math

import pytest
import torch

from torchicon.methods import Approaches, EqualLoss, EqualUpTo, Limit

PROBLEM = {"z": torch.tensor([0.5, 1.0], dtype=torch.float64)}


class Row:
    """A method whose loss and rescaled loss are given."""

    learns = ("z",)

    def __init__(self, loss, before=None):
        self.loss, self.before = loss, before


def squares(problem):
    return problem["z"].square().sum(), 2 * problem["z"]


def loss(problem):
    return problem["z"].square().sum()


def without_slope(problem):
    """The right value, and a gradient that is NaN."""
    return loss(problem) + (0.0 * problem["z"]).sqrt().sum()


def test_a_gradient_that_is_no_number_passes_nothing():
    for claim in (EqualLoss(), EqualUpTo(1.0, lambda _: 0.0)):
        assert claim.check(Row(loss), squares, PROBLEM).passed
        evidence = claim.check(Row(without_slope), squares, PROBLEM)
        assert (evidence.value_error, evidence.gradient_error, evidence.passed) == (0.0, math.inf, False)
    steep = Row(loss, lambda problem, h: without_slope(problem) + h)
    assert not Limit(at_least=True).check(steep, squares, PROBLEM).passed
    approach = Approaches("h", lambda h: h, lambda value, h, problem: value + h, order=1.0)
    assert approach.check(Row(loss), squares, PROBLEM).passed
    assert not approach.check(Row(without_slope), squares, PROBLEM).passed


@pytest.mark.parametrize(
    ("error", "at_least", "passed"),
    [
        (lambda h: h, False, True),
        (lambda h: h, True, True),
        (lambda h: h**2, False, False),
        (lambda h: h**2, True, True),
        (lambda h: h**0.5, True, False),
        # fast in the first step, slow in the second
        (lambda h: {1e-2: 1e-1, 1e-3: 1e-5}.get(h, 1e-5 * 10**-0.5), True, False),
    ],
)
def test_the_worst_step_decides_on_the_order(error, at_least, passed):
    row = Row(loss, lambda problem, h: loss(problem) * (1 + error(h)))
    assert Limit(at_least=at_least).check(row, squares, PROBLEM).passed is passed


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="those of the oracle"):
        EqualLoss().check(Row(loss), lambda problem: (loss(problem), 2 * problem["z"][:, None]), PROBLEM)
    with pytest.raises(ValueError, match="0 gradients"):
        EqualLoss().check(Row(loss), lambda problem: (loss(problem),), PROBLEM)
