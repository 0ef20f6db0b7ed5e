"""Claims: how exactly a method is what it says it is. The claim chooses the test."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

Problem = Mapping[str, Tensor]
Loss = Callable[[Problem], Tensor]


@dataclass(frozen=True)
class Answer:
    """What an oracle says about a problem: the loss, and its gradient with respect to what is learned."""

    value: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Evidence:
    """What was seen when a claim was checked. Errors are relative to 1 + |the oracle's number|."""

    value_error: float | None
    gradient_error: float | None
    order: float | None
    passed: bool


class Claim(ABC):
    """A statement about a method's loss that can be tested against an oracle."""

    @abstractmethod
    def check(self, loss: Loss, oracle: Callable[[Problem], Answer], problem: Problem, learns: str) -> Evidence:
        """Compare the loss with the oracle on one problem; ``learns`` names the tensor that has a gradient."""


_TOLERANCE = 1e-9  # float64 (theory 10)


@final
@dataclass(frozen=True)
class EqualLoss(Claim):
    """Value and gradient equal the oracle's."""

    tolerance: float = _TOLERANCE

    def check(self, loss: Loss, oracle: Callable[[Problem], Answer], problem: Problem, learns: str) -> Evidence:
        """Compare both."""
        return EqualUpTo(1.0, lambda _: 0.0, self.tolerance).check(loss, oracle, problem, learns)


@final
@dataclass(frozen=True)
class EqualUpTo(Claim):
    """``scale * loss + offset(problem)`` equals the oracle's value, and scale times the gradient its gradient."""

    scale: float
    offset: Callable[[Problem], float]
    tolerance: float = _TOLERANCE

    def check(self, loss: Loss, oracle: Callable[[Problem], Answer], problem: Problem, learns: str) -> Evidence:
        """Compare value and gradient after the constants."""
        value, gradient = _value_and_gradient(loss, problem, learns)
        answer = oracle(problem)
        value_error = _error(self.scale * value + self.offset(problem), answer.value)
        gradient_error = _error(self.scale * gradient, answer.gradient)
        return Evidence(value_error, gradient_error, None, max(value_error, gradient_error) < self.tolerance)


@final
@dataclass(frozen=True)
class EqualGradient(Claim):
    """Only the gradient equals the oracle's: the value differs by a constant nobody needs."""

    tolerance: float = _TOLERANCE

    def check(self, loss: Loss, oracle: Callable[[Problem], Answer], problem: Problem, learns: str) -> Evidence:
        """Compare the gradients."""
        _, gradient = _value_and_gradient(loss, problem, learns)
        error = _error(gradient, oracle(problem).gradient)
        return Evidence(None, error, None, error < self.tolerance)


@final
@dataclass(frozen=True)
class Limit(Claim):
    """The rescaled loss tends to the oracle as a knob goes to its limit, with an error of the given order in h.

    Args:
        knob: name of the problem's scalar that is turned.
        knob_of: the knob at a given small h.
        rescale: from (loss, h, problem) to the number that converges; affine in the loss.
        order: exponent of h in the error. Closeness alone would not tell a limit from a neighbor of it.
    """

    knob: str
    knob_of: Callable[[float], float]
    rescale: Callable[[Tensor, float, Problem], Tensor]
    order: float
    steps: tuple[float, float, float] = (1e-2, 1e-3, 1e-4)

    def check(self, loss: Loss, oracle: Callable[[Problem], Answer], problem: Problem, learns: str) -> Evidence:
        """Measure the order between successive steps, of the value and of the gradient."""
        answer = oracle(problem)
        errors = []
        for h in self.steps:
            turned = {**problem, self.knob: torch.tensor(self.knob_of(h), dtype=torch.float64)}

            def rescaled(at: Problem, h: float = h) -> Tensor:
                return self.rescale(loss(at), h, at)

            value, gradient = _value_and_gradient(rescaled, turned, learns)
            errors.append((_error(value, answer.value), _error(gradient, answer.gradient)))
        ratio = math.log(self.steps[0] / self.steps[1])
        orders = [math.log(a[part] / b[part]) / ratio for a, b in itertools.pairwise(errors) for part in (0, 1)]
        worst = min(orders, key=lambda order: -abs(order - self.order))
        return Evidence(errors[-1][0], errors[-1][1], worst, abs(worst - self.order) < 0.1)


@final
@dataclass(frozen=True)
class Inspired(Claim):
    """Nothing is claimed beyond the idea; ``reason`` says what keeps it from being exact."""

    reason: str

    def check(self, loss: Loss, oracle: Callable[[Problem], Answer], problem: Problem, learns: str) -> Evidence:
        """The loss and its gradient are finite, which is all that can be said."""
        value, gradient = _value_and_gradient(loss, problem, learns)
        return Evidence(None, None, None, bool(value.isfinite().all() and gradient.isfinite().all()))


def _value_and_gradient(loss: Loss, problem: Problem, learns: str) -> tuple[Tensor, Tensor]:
    learned = problem[learns].detach().clone().requires_grad_()
    value = loss({**problem, learns: learned})
    (gradient,) = torch.autograd.grad(value, learned)
    return value.detach(), gradient


def _error(seen: Tensor, expected: Tensor) -> float:
    return float(((seen - expected).abs() / (1 + expected.abs())).max())
