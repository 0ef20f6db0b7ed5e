"""A method is a row of data: what it takes for neighbors, what it learns, and what it claims."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar, final

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

_FUNCTIONS = ("p", "q", "weights", "factor")  # what a term may have as functions

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Term:
    """One divergence between two neighborhoods, made from a problem's tensors.

    ``p`` and ``q`` (and ``weights``, if callable) are functions of the problem's tensors *by name*:
    ``q=lambda z: StudentT()(z)`` takes the problem's ``z``. A parameter with a default is no tensor but a setting, a
    constant of the method: ``q=lambda z, temperature=0.1: Cosine(temperature)(z)``.

    Args:
        p: supervisory neighborhood.
        q: learned neighborhood.
        divergence: `kl`, one of its limits `wide`, `narrow` and `both_wide`, or `cross_entropy`.
        direction: see `objective`.
        weights: "mean", "sum", "joint" for one distribution over all cells, or a function to (n,) weights.
        factor: of this term in the loss, or a function of settings alone that gives it.
    """

    p: Callable[..., Rows]
    q: Callable[..., Rows]
    divergence: Callable[[Rows, Rows], Tensor] = kl
    direction: Literal["forward", "reverse"] = "forward"
    weights: Literal["mean", "sum", "joint"] | Callable[..., Tensor] = "mean"
    factor: float | Callable[..., float] = 1.0

    @property
    def coefficient(self) -> float:
        """The factor as a number."""
        return self.factor() if callable(self.factor) else self.factor

    def neighborhoods(self, problem: Problem) -> tuple[Rows, Rows]:
        """Supervisory and learned neighborhood of a problem."""
        return _call(self.p, problem), _call(self.q, problem)

    def value(self, problem: Problem, divergence: Callable[[Rows, Rows], Tensor]) -> Tensor:
        """This term with a divergence of your choice, factor included."""
        p, q = self.neighborhoods(problem)
        if self.weights == "joint":
            return self.coefficient * joint_kl(p, q)
        weights = self.weights if isinstance(self.weights, str) else _call(self.weights, problem)
        return self.coefficient * objective(p, q, direction=self.direction, weights=weights, divergence=divergence)


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
        ValueError: an unknown cell, a claim that does not fit, p, q or weights ask for a tensor the example does not
            have, the factor asks for one, a setting has two defaults, or the name of a tensor.
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
            for side, function in _functions(term).items():
                missing = set(asked_by(function)) - set(given if side != "factor" else ())
                if missing:
                    has = f"the example has {sorted(given)}" if side != "factor" else "it takes settings only"
                    raise ValueError(
                        f"{self.name}: {side} asks for {sorted(missing)}, {has}. A function takes tensors by name, "
                        "q=lambda z: StudentT()(z), and settings with a default; example= makes other tensors."
                    )
        self._check_settings()
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

    @property
    def settings(self) -> dict[str, object]:
        """The constants of all terms by name: what p, q, weights and factors have as parameters with a default.

        >>> from torchicon.methods import find
        >>> find("CMC-BALL").settings
        {'size': 12, 'temperature': 0.07}
        """
        functions = [function for term in self.terms for function in _functions(term).values()]
        return {name: value for function in functions for name, value in settings_of(function).items()}

    def at(self, **settings: object) -> Method:
        """The method with other constants; itself if none differs.

        The result claims nothing: what an oracle answers for is the row as it stands.

        Raises:
            ValueError: a name that is not among the `settings`.

        >>> from torchicon.methods import find
        >>> find("SimCLR").at(temperature=0.2).settings
        {'temperature': 0.2}
        """
        known = self.settings
        for name in settings:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {close[0]}?" if close else ""
                has = ", ".join(f"{key}={value!r}" for key, value in known.items()) or "none"
                raise ValueError(f"{self.name} has no setting {name!r}.{hint} Its settings: {has}.")
        others = {name: value for name, value in settings.items() if _differ(value, known[name])}
        if not others:
            return self
        return replace(
            self,
            **_bound(self, others),
            others=tuple(replace(term, **_bound(term, others)) for term in self.others),
            oracle=None,
            claim=NO_CLAIM,
        )

    def _check_settings(self) -> None:
        """One default for each setting, and no tensor of its name: else the row would not say what `at` changes."""
        functions = [function for term in self.terms for function in _functions(term).values()]
        known, tensors = self.settings, {name for function in functions for name in asked_by(function)}
        for function in functions:
            for name, value in settings_of(function).items():
                if _differ(value, known[name]):
                    raise ValueError(
                        f"{self.name}: the setting {name} has the defaults {value!r} and {known[name]!r}. A setting "
                        "has one; constants that differ need names that differ."
                    )
        both = sorted(tensors & set(known))
        if both:
            raise ValueError(
                f"{self.name}: {both} are tensors in one function and, having a default, settings in another. Rename "
                "the settings."
            )

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


def settings_of(function: Callable[..., object]) -> dict[str, object]:
    """Constants of a function of a problem: its parameters that have a default, and what it is."""
    parts = inspect.signature(function).parameters.values()
    return {part.name: part.default for part in parts if part.default is not part.empty}


def _functions(term: Term) -> dict[str, Callable[..., object]]:
    parts = {name: getattr(term, name) for name in _FUNCTIONS}
    return {name: part for name, part in parts.items() if callable(part)}


def _bound(term: Term, settings: Mapping[str, object]) -> dict[str, Any]:
    """The functions of a term, each with those of the settings that it takes."""
    bound = {}
    for side, function in _functions(term).items():
        own = {name: settings[name] for name in settings_of(function) if name in settings}
        bound[side] = partial(function, **own) if own else function
    return bound


def _differ(value: object, other: object) -> bool:
    return value is not other and value != other


def _call(function: Callable[..., T], problem: Problem) -> T:
    return function(**{name: problem[name] for name in asked_by(function)})
