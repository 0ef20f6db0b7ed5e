"""Claims: how exactly a method is what it says it is. The claim chooses the test."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from torchicon.methods.problems import Problem

# (value, gradient of each learned tensor in turn)
Oracle = Callable[[Problem], tuple[Tensor, ...]]


class Claimant(Protocol):
    """What makes a claim: a method."""

    @property
    def learns(self) -> tuple[str, ...]:
        """The problem's tensors that carry a gradient."""

    def loss(self, problem: Problem) -> Tensor:
        """The loss."""

    def before(self, problem: Problem, h: float) -> Tensor:
        """The rescaled loss of which this is the limit."""


@final
@dataclass(frozen=True)
class Evidence:
    """What was seen when a claim was checked. Errors are relative to 1 + |the oracle's number|.

    ``failure`` is the exception that kept the claim from being checked, if one did.
    """

    value_error: float | None
    gradient_error: float | None
    order: float | None
    passed: bool
    failure: str | None = None


class Claim(ABC):
    """A statement about a method's loss that can be tested against an oracle."""

    @abstractmethod
    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """Compare the method's loss with the oracle on one problem; only `Inspired` does without an oracle."""


_TOLERANCE = 1e-9  # float64 (theory 10)
_STEPS = (1e-2, 1e-3, 1e-4)
_ORDER_TOLERANCE = 0.1
_ROUND_OFF = 1e-11  # an error below it has no order that could be measured


@final
@dataclass(frozen=True)
class EqualLoss(Claim):
    """Value and gradient equal the oracle's."""

    tolerance: float = _TOLERANCE

    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """Compare both."""
        return EqualUpTo(1.0, lambda _: 0.0, self.tolerance).check(method, oracle, problem)


@final
@dataclass(frozen=True)
class EqualUpTo(Claim):
    """``scale * loss + offset(problem)`` equals the oracle's value, and scale times the gradient its gradient."""

    scale: float
    offset: Callable[[Problem], float]
    tolerance: float = _TOLERANCE

    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """Compare value and gradient after the constants."""
        value, *gradients = _value_and_gradients(method.loss, problem, method.learns)
        seen = (self.scale * value + self.offset(problem), *(self.scale * gradient for gradient in gradients))
        value_error, gradient_error = _errors(seen, _answer(oracle, problem))
        passed = value_error < self.tolerance and gradient_error < self.tolerance
        return Evidence(value_error, gradient_error, None, passed)


@final
@dataclass(frozen=True)
class EqualGradient(Claim):
    """Only the gradient equals the oracle's: the value differs by a constant nobody needs."""

    tolerance: float = _TOLERANCE

    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """Compare the gradients."""
        _, error = _errors(_value_and_gradients(method.loss, problem, method.learns), _answer(oracle, problem))
        return Evidence(None, error, None, error < self.tolerance)


@final
@dataclass(frozen=True)
class Limit(Claim):
    """The loss is a limit of the KL: it equals the oracle, and the rescaled KL tends to it linearly in h.

    With ``at_least`` the approach may be faster, as where the kernel becomes narrow and nothing ties (theory 3.3).
    Closeness alone would not tell a limit from a neighbor of it.
    """

    at_least: bool = False

    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """Compare the limit's value and gradient, and measure the order between successive steps of h."""
        answer = _answer(oracle, problem)
        equal = EqualLoss().check(method, lambda _: answer, problem)
        errors = []
        for h in _STEPS:

            def rescaled(at: Problem, h: float = h) -> Tensor:
                return method.before(at, h)

            errors.append(_errors(_value_and_gradients(rescaled, problem, method.learns), answer))
        order = _order(errors, None if self.at_least else 1.0)
        kept = order > 1.0 - _ORDER_TOLERANCE if self.at_least else abs(order - 1.0) < _ORDER_TOLERANCE
        return Evidence(equal.value_error, equal.gradient_error, order, equal.passed and kept)


@final
@dataclass(frozen=True)
class Approaches(Claim):
    """The rescaled loss tends to the oracle as a knob of the problem goes to its limit, with an error of an order in h.

    Args:
        knob: name of the problem's scalar that is turned.
        knob_of: the knob at a given small h.
        rescale: from (loss, h, problem) to the number that converges; affine in the loss.
        order: exponent of h in the error.
    """

    knob: str
    knob_of: Callable[[float], float]
    rescale: Callable[[Tensor, float, Problem], Tensor]
    order: float

    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """Measure the order between successive steps, of the value and of the gradient."""
        answer = _answer(oracle, problem)
        errors = []
        for h in _STEPS:
            turned = {**problem, self.knob: torch.tensor(self.knob_of(h), dtype=torch.float64)}

            def rescaled(at: Problem, h: float = h) -> Tensor:
                return self.rescale(method.loss(at), h, at)

            errors.append(_errors(_value_and_gradients(rescaled, turned, method.learns), answer))
        order = _order(errors, self.order)
        return Evidence(*errors[-1], order, abs(order - self.order) < _ORDER_TOLERANCE)


@final
@dataclass(frozen=True)
class Inspired(Claim):
    """Nothing is claimed beyond the idea; ``reason`` says what keeps it from being exact."""

    reason: str

    def check(self, method: Claimant, oracle: Oracle | None, problem: Problem) -> Evidence:
        """The loss and its gradient are finite, which is all that can be said."""
        numbers = _value_and_gradients(method.loss, problem, method.learns)
        return Evidence(None, None, None, all(bool(number.isfinite().all()) for number in numbers))


NO_CLAIM = Inspired("there is no independent answer to hold it against")


def _answer(oracle: Oracle | None, problem: Problem) -> tuple[Tensor, ...]:
    if oracle is None:
        raise ValueError("This claim is tested against an oracle, and there is none.")
    return oracle(problem)


def _value_and_gradients(
    loss: Callable[[Problem], Tensor], problem: Problem, learns: tuple[str, ...]
) -> tuple[Tensor, ...]:
    learned = {name: problem[name].detach().clone().requires_grad_() for name in learns}
    value = loss({**problem, **learned})
    if not value.requires_grad:  # constant wherever it is differentiable, such as an error rate
        return (value, *map(torch.zeros_like, learned.values()))
    return (value.detach(), *torch.autograd.grad(value, list(learned.values()), materialize_grads=True))


def _errors(seen: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> tuple[float, float]:
    """Error of the value, and the largest of all gradients."""
    if len(seen) != len(expected):
        raise ValueError(f"{len(seen) - 1} tensors are learned, but the oracle has {len(expected) - 1} gradients.")
    shapes, others = ([tuple(number.shape) for number in numbers] for numbers in (seen, expected))
    if shapes != others:  # they would be broadcast
        raise ValueError(f"Value and gradients have the shapes {shapes}, those of the oracle {others}.")
    value, *gradients = (_error(s, e) for s, e in zip(seen, expected, strict=True))
    return value, max(gradients)


def _error(seen: Tensor, expected: Tensor) -> float:
    """Relative to 1 + |expected|; infinite where it is NaN, which no comparison would refuse."""
    relative = float(((seen - expected).abs() / (1 + expected.abs())).max())
    return math.inf if math.isnan(relative) else relative


def _order(errors: list[tuple[float, float]], expected: float | None) -> float:
    """The worst order over steps and over value and gradient; inf if all is round-off, -inf if an error is infinite.

    The worst is the one farthest from ``expected``, or the smallest if nothing is expected.
    """
    if not all(math.isfinite(error) for step in errors for error in step):
        return -math.inf
    ratio = math.log(_STEPS[0] / _STEPS[1])
    orders = [
        math.log(max(a[part], _ROUND_OFF) / b[part]) / ratio
        for a, b in itertools.pairwise(errors)
        for part in (0, 1)
        if b[part] > _ROUND_OFF
    ]
    if expected is None:
        return min(orders, default=math.inf)
    return max(orders, key=lambda order: abs(order - expected), default=math.inf)
