"""One method on the tensors of a scene: a few hundred steps of Adam, the same for every method of a kind."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from torchicon import Method
from torchicon.core import Rows
from torchicon.methods import Term
from torchicon.methods.method import asked_by

Problem = dict[str, Tensor]
_MOVING = {"bank", "text_bank", "cluster", "text_cluster", "center"}  # given, but not the same at every step


class Trainable(Protocol):
    """What a training needs of a scene."""

    given: Problem
    steps: int

    @property
    def groups(self) -> list[dict[str, Any]]:
        """What is learned, and how fast."""

    def make(self) -> Problem:
        """The tensors of the next step."""

    def after(self) -> None:
        """What follows a step."""


class FlatError(Exception):
    """A loss without a gradient: there is nothing to follow."""


class PinnedError(Exception):
    """A row that works at no other sizes than its example's."""


def fit(method: Method, scene: Trainable, steps: int | None = None) -> tuple[float, float]:
    """Train; the loss at the first and at the last step. The scene says how many there are if ``steps`` does not.

    Raises:
        FlatError: the loss is constant wherever it is differentiable.
        PinnedError: the first loss already refuses the sizes of the scene.
        FloatingPointError: the loss became infinite or NaN.
    """
    steps = scene.steps if steps is None else steps
    method = with_given_rows(method, scene.given)
    optimizer = torch.optim.Adam(scene.groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: (1 + math.cos(math.pi * at / steps)) / 2)
    losses = []
    for step in range(steps):
        problem = scene.make()
        try:
            loss = method.loss(problem)
        except ValueError as error:
            if step > 0:
                raise
            raise PinnedError(f"the row is written for the sizes of its example: {error}") from error
        if not loss.requires_grad:
            raise FlatError("the loss is constant wherever it is differentiable")
        if not loss.isfinite():
            raise FloatingPointError(f"The loss of {method} is {loss.item()} at step {step}.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        scene.after()
        losses.append(loss.item())
    return losses[0], losses[-1]


def used_names(method: Method) -> set[str]:
    """The tensors that the loss takes or that are learned: an example may have more."""
    functions = [function for term in method.terms for function in (term.p, term.q, term.weights) if callable(function)]
    return {name for function in functions for name in asked_by(function)} | set(method.learns)


def looks_at(method: Method, name: str) -> bool:
    """A term of the loss takes this tensor of the problem."""
    sides = [side for term in method.terms for side in (term.p, term.q)]
    return any(name in asked_by(side) for side in sides)


def with_given_rows(method: Method, given: Mapping[str, Tensor]) -> Method:
    """The same method, with every p that nothing learned enters computed once, since perplexities take long."""
    first, *others = (_with_given_p(term, given) for term in method.terms)
    return dataclasses.replace(method, p=first.p, others=tuple(others))


def _with_given_p(term: Term, given: Mapping[str, Tensor]) -> Term:
    names = asked_by(term.p)
    if not set(names) <= set(given) - _MOVING:
        return term
    rows: Rows = term.p(**{name: given[name] for name in names})
    return dataclasses.replace(term, p=lambda: rows)


class MLP:
    """Layers with ReLU between them, drawn from a local generator.

    A ``standardized`` one ends as the heads of contrastive methods do: every output has mean 0 and variance 1 over the
    batch, times a gain that is learned. Without it all rows leave in one direction together at first, and where no
    gradient passes through the candidates (an averaged teacher, the hardest one) they never part again.
    """

    def __init__(self, *sizes: int, generator: torch.Generator, standardized: bool = False) -> None:
        self.parameters: list[Tensor] = []
        for inputs, outputs in itertools.pairwise(sizes):
            weight = torch.randn(inputs, outputs, generator=generator) * math.sqrt(2 / inputs)
            self.parameters += [weight.requires_grad_(), torch.zeros(outputs, requires_grad=True)]
        self.log_gain = torch.zeros((), requires_grad=True) if standardized else None

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs of the last layer."""
        *hidden, last = zip(self.parameters[::2], self.parameters[1::2], strict=True)
        for weight, bias in hidden:
            x = (x @ weight + bias).relu()
        x = x @ last[0] + last[1]
        if self.log_gain is None:
            return x
        return (x - x.mean(0)) / (x.std(0) + 1e-3) * self.log_gain.exp()

    def average(self, other: MLP, momentum: float) -> None:
        """Move toward another network of the same sizes."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters, other.parameters, strict=True):
                mine.lerp_(theirs, 1 - momentum)
            if self.log_gain is not None and other.log_gain is not None:
                self.log_gain.lerp_(other.log_gain, 1 - momentum)
