"""A method is a row of data: what it takes for neighbors, what it learns, and what it claims."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from torchicon.core import Rows, joint_kl, objective
from torchicon.methods.citations import Citation
from torchicon.methods.claims import Claim, Problem

# The periodic table's axes (theory 2): supervisory neighborhoods are its columns, learned ones its rows.
SUPERVISORY = (
    "Gaussian",
    "Student-t",
    "Identity",
    "Graph weights",
    "kNN",
    "Positive pairs",
    "Cross-modal",
    "Classes",
    "Data-label",
)
LEARNED = ("Gaussian", "Gaussian, wide", "Gaussian, narrow", "Student-t", "Clusters")


@final
@dataclass(frozen=True, kw_only=True)
class Method:
    """One cell's inhabitant in the periodic table of representation learning.

    ``p`` and ``q`` are functions of the problem's tensors *by name*: ``q=lambda z: StudentT()(z)`` takes the
    problem's ``z``. ``example`` draws a small problem on which the claim is checked.

    Args:
        name: as the field says it.
        cell: (supervisory, learned), from `SUPERVISORY` and `LEARNED`.
        citation: where it comes from.
        p, q: supervisory and learned neighborhood.
        p_equation, q_equation: the same for people.
        mapper, candidates: what turns x into z, and who may be picked, in words.
        oracle: name of the independent answer in `torchicon.oracles`.
        claim: how exact the method is against it.
        example: from a seeded generator to a problem in float64.
        learns: the problem's tensor that carries the gradient.
        direction: see `objective`.
        weights: "mean", "sum", or "joint" for one distribution over all cells.
        constants: how the loss relates to the printed one, if it is not equal.

    Raises:
        ValueError: an unknown cell, or p or q asks for a tensor the example does not have.
    """

    name: str
    cell: tuple[str, str]
    citation: Citation
    p: Callable[..., Rows]
    q: Callable[..., Rows]
    p_equation: str
    q_equation: str
    mapper: str
    candidates: str
    oracle: str
    claim: Claim
    example: Callable[[torch.Generator], Problem]
    learns: str = "z"
    direction: Literal["forward", "reverse"] = "forward"
    weights: Literal["mean", "sum", "joint"] = "mean"
    constants: str = "none"

    def __post_init__(self) -> None:
        if self.cell[0] not in SUPERVISORY or self.cell[1] not in LEARNED:
            raise ValueError(f"{self.name}: the cell {self.cell} is not in the table; see SUPERVISORY and LEARNED.")
        if self.weights == "joint" and self.direction != "forward":
            raise ValueError(f"{self.name}: the joint form is forward.")
        given = self.example(torch.Generator().manual_seed(0))
        for side, neighborhood in (("p", self.p), ("q", self.q)):
            missing = set(inspect.signature(neighborhood).parameters) - set(given)
            if missing:
                raise ValueError(f"{self.name}: {side} asks for {sorted(missing)}, the example has {sorted(given)}.")
        if self.learns not in given:
            raise ValueError(f"{self.name}: learns {self.learns!r}, which the example does not have.")

    def neighborhoods(self, problem: Problem) -> tuple[Rows, Rows]:
        """Supervisory and learned neighborhood of a problem."""
        return _call(self.p, problem), _call(self.q, problem)

    def loss(self, problem: Problem) -> Tensor:
        """The method's loss on a problem, one number in nats."""
        p, q = self.neighborhoods(problem)
        if self.weights == "joint":
            return joint_kl(p, q)
        return objective(p, q, direction=self.direction, weights=self.weights)

    def __str__(self) -> str:
        """The name."""
        return self.name


def _call(neighborhood: Callable[..., Rows], problem: Problem) -> Rows:
    return neighborhood(**{name: problem[name] for name in inspect.signature(neighborhood).parameters})
