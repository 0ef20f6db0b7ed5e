"""A method is a row of data: what it takes for neighbors, what it learns, and what it claims."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, final

import torch
from torch import Tensor

from torchicon.core import LimitOfKL, Rows, joint_kl, kl, objective
from torchicon.methods import problems
from torchicon.methods.citations import Citation
from torchicon.methods.claims import NO_CLAIM, Claim, Inspired, Limit, Oracle
from torchicon.methods.problems import Problem

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
LEARNED = ("Gaussian", "Gaussian, wide", "Gaussian, narrow", "Exponential", "Student-t", "Clusters")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Term:
    """One divergence between two neighborhoods, made from a problem's tensors.

    ``p`` and ``q`` (and ``weights``, if callable) are functions of the problem's tensors *by name*:
    ``q=lambda z: StudentT()(z)`` takes the problem's ``z``.

    Args:
        p: supervisory neighborhood.
        q: learned neighborhood.
        divergence: `kl`, one of its limits `wide`, `narrow` and `both_wide`, or `cross_entropy`.
        direction: see `objective`.
        weights: "mean", "sum", "joint" for one distribution over all cells, or a function to (n,) weights.
        factor: of this term in the loss.
    """

    p: Callable[..., Rows]
    q: Callable[..., Rows]
    divergence: Callable[[Rows, Rows], Tensor] = kl
    direction: Literal["forward", "reverse"] = "forward"
    weights: Literal["mean", "sum", "joint"] | Callable[..., Tensor] = "mean"
    factor: float = 1.0

    def neighborhoods(self, problem: Problem) -> tuple[Rows, Rows]:
        """Supervisory and learned neighborhood of a problem."""
        return _call(self.p, problem), _call(self.q, problem)

    def value(self, problem: Problem, divergence: Callable[[Rows, Rows], Tensor]) -> Tensor:
        """This term with a divergence of your choice, factor included."""
        p, q = self.neighborhoods(problem)
        if self.weights == "joint":
            return self.factor * joint_kl(p, q)
        weights = self.weights if isinstance(self.weights, str) else _call(self.weights, problem)
        return self.factor * objective(p, q, direction=self.direction, weights=weights, divergence=divergence)


@final
@dataclass(frozen=True, kw_only=True)
class Method(Term):
    """One inhabitant of the periodic table of representation learning: a term, its place and its claim.

    Args:
        name: as the field says it.
        cell: (supervisory, learned), from `SUPERVISORY` and `LEARNED`.
        others: further terms of the loss, for methods that are a sum.
        gap: the cell is a gap of the published table that the method fills.
        p_equation: p, for people.
        q_equation: q, for people.
        mapper: what makes the representation, in words.
        candidates: who may be picked, in words.
        constants: how the loss relates to the printed one, if it is not equal.
        citation: where it comes from.
        oracle: the independent answer: a name in `torchicon.oracles`, or a function of the problem.
        claim: how exact the method is against it.
        example: from a seeded generator to a problem in float64; see `torchicon.methods.problems`.
        learns: the problem's tensors that carry a gradient.

    Raises:
        ValueError: an unknown cell, a claim that does not fit, or p, q or weights ask for a tensor the example
            does not have.
    """

    name: str
    cell: tuple[str, str]
    others: tuple[Term, ...] = ()
    gap: bool = False
    p_equation: str = ""
    q_equation: str = ""
    mapper: str = "any"
    candidates: str = "the columns of p"
    constants: str = "none"
    citation: Citation | None = None
    oracle: str | Oracle | None = None
    claim: Claim = NO_CLAIM
    example: Callable[[torch.Generator], Problem] = problems.points
    learns: tuple[str, ...] = ("z",)

    def __post_init__(self) -> None:
        if self.cell[0] not in SUPERVISORY or self.cell[1] not in LEARNED:
            raise ValueError(
                f"{self.name}: the cell {self.cell} is not in the table. It is (p, q) with p among "
                f"{', '.join(map(repr, SUPERVISORY))} and q among {', '.join(map(repr, LEARNED))}."
            )
        if not isinstance(self.claim, Claim):
            raise ValueError(f"{self.name}: claim must be a claim such as EqualLoss(), got {self.claim!r}.")
        if not isinstance(self.citation, Citation | None):
            raise ValueError(f"{self.name}: citation must be a Citation(bibtex), got {self.citation!r}.")
        given = self.example(torch.Generator().manual_seed(0))
        for term in self.terms:
            if term.weights == "joint" and (term.direction != "forward" or term.divergence is not kl):
                raise ValueError(f"{self.name}: the joint form is the forward KL.")
            for side in ("p", "q", "weights"):
                function = getattr(term, side)
                missing = set(asked_by(function)) - set(given) if callable(function) else set()
                if missing:
                    raise ValueError(
                        f"{self.name}: {side} asks for {sorted(missing)}, the example has {sorted(given)}. A function "
                        "takes tensors by name, q=lambda z: StudentT()(z); example= makes others."
                    )
        absent = set(self.learns) - set(given)
        if absent or not self.learns:
            raise ValueError(f"{self.name}: learns {self.learns}, of which the example lacks {sorted(absent)}.")
        if (self.oracle is None) != isinstance(self.claim, Inspired):
            raise ValueError(
                f"{self.name}: an oracle is what a claim is tested against: give both, or neither for {NO_CLAIM!r}."
            )
        limits = [isinstance(term.divergence, LimitOfKL) for term in self.terms]
        if not (all(limits) if isinstance(self.claim, Limit) else isinstance(self.claim, Inspired) or not any(limits)):
            raise ValueError(f"{self.name}: the claim Limit goes with the divergences wide, narrow and both_wide.")

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms of the loss."""
        return (self, *self.others)

    def loss(self, problem: Problem) -> Tensor:
        """The method's loss on a problem, one number in nats."""
        return torch.stack([term.value(problem, term.divergence) for term in self.terms]).sum()

    def before(self, problem: Problem, h: float) -> Tensor:
        """The rescaled loss at precision h of which this method is the limit (theory 3)."""

        def at(limit: object) -> Callable[[Rows, Rows], Tensor]:
            assert isinstance(limit, LimitOfKL), f"{self.name} is not a limit"
            return lambda p, q: limit.before(p, q, h)

        return torch.stack([term.value(problem, at(term.divergence)) for term in self.terms]).sum()

    def __str__(self) -> str:
        """The name."""
        return self.name


def asked_by(function: Callable[..., object]) -> tuple[str, ...]:
    """Names of the tensors that a function of a problem asks for: its parameters that have no default."""
    parts = inspect.signature(function).parameters.values()
    return tuple(part.name for part in parts if part.default is part.empty and part.kind is not part.VAR_KEYWORD)


def _call(function: Callable[..., T], problem: Problem) -> T:
    return function(**{name: problem[name] for name in asked_by(function)})
