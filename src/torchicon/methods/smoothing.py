"""Smoothing of any method: uniform mass in p and q, walks on p's graph, a teacher behind q (theory 5)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps

import torch
from torch import Generator, Tensor

from torchicon.core import Dense, LimitOfKL, Rows, Sparse
from torchicon.methods.claims import Inspired
from torchicon.methods.method import Method, Term, asked_by, settings_of
from torchicon.methods.problems import Problem
from torchicon.neighborhoods import debias, propagate, taught, within

Recipe = Callable[..., Rows]


def smoothed(
    method: Method, *, debias_p: float = 0.0, debias_q: float = 0.0, walks: int = 1, teacher: bool = False
) -> Method:
    r"""The same method with smoother neighborhoods, in every term (I-Con 3.3).

    First p walks and q gets its teacher, then both are debiased. A further term whose q is written down as `Dense`,
    such as an entropy bonus, has no graph and no candidates with a representation: it is only debiased.

    Args:
        method: the row to wrap; it stays as it is.
        debias_p: share alpha of uniform mass in p, in [0, 1): $(1-\alpha) p + \alpha / M$; on classes label smoothing.
        debias_q: the same in q, which bounds the divergence KL(p || q) of each anchor by log(M / alpha).
        walks: the longest walk on p's graph that makes a neighbor; 1 leaves p alone.
        teacher: the candidates are an averaged teacher's, detached, so that only anchors learn. Beside each learned
            ``<name>`` the problem then has ``<name>_teacher``, what the teacher makes of the same.

    Raises:
        TypeError: walks on a p that is no graph, or a teacher for a q whose candidates have no representation.
        ValueError: a limit (smooth the method that it is the limit of), a share outside [0, 1), fewer than 1 step,
            walks or a teacher where p itself is learned, or a teacher where a learned tensor is never an anchor.
        SupportError: uniform mass in p alone, where q leaves candidates out.

    >>> from torchicon.methods import find
    >>> method = smoothed(find("SimCLR"), debias_q=0.6, teacher=True)
    >>> method.name
    'SimCLR, q taught, q debiased by 0.6'
    >>> sorted(method.example(torch.Generator()))
    ['image', 'z', 'z_teacher']
    """
    if any(isinstance(term.divergence, LimitOfKL) for term in method.terms):
        raise ValueError(f"{method} is a limit of a divergence and has no neighborhood that could be smoothed.")
    p_equation, q_equation, candidates, done = method.p_equation, method.q_equation, method.candidates, []
    if walks != 1:
        p_equation = f"(P + ... + P^{walks}) / {walks} with P: {p_equation}"
        done.append(f"p walked {walks} steps")
    if teacher:
        candidates = f"{candidates}, as an averaged teacher sees them"
        done.append("q taught")
    if debias_p:
        p_equation = f"{1 - debias_p:g} p + {debias_p:g} / M with p: {p_equation}"
        done.append(f"p debiased by {debias_p:g}")
    if debias_q:
        q_equation = f"{1 - debias_q:g} q + {debias_q:g} / M with q: {q_equation}"
        done.append(f"q debiased by {debias_q:g}")
    if not done:
        return method
    example = _with_teacher(method) if teacher else method.example
    problem = example(torch.Generator().manual_seed(0))
    learned = {name: problem[name].detach().clone().requires_grad_() for name in method.learns}
    problem = {**problem, **learned}
    terms = []
    for term in method.terms:
        p, q = term.p, term.q
        if debias_p and _has_own_candidates(term, problem):
            p = _within(p, q)
        if (walks != 1 or teacher) and _has_neighbors(term, problem, method):
            p = p if walks == 1 else _walking(p, walks, method, keeps_shares=term.weights == "joint")
            q = _taught(q, method.learns) if teacher else q
        terms.append(
            Term(
                p=_debiased(p, debias_p),
                q=_debiased(q, debias_q),
                divergence=term.divergence,
                direction=term.direction,
                weights=term.weights,
                factor=term.factor,
            )
        )
    first, *others = terms
    result = replace(
        method,
        name=", ".join([method.name, *done]),
        p=first.p,
        q=first.q,
        others=tuple(others),
        p_equation=p_equation,
        q_equation=q_equation,
        candidates=candidates,
        oracle=None,
        claim=Inspired(f"the claim is {method.name}'s; smoothing changes its loss on purpose"),
        example=example,
    )
    loss = result.loss(problem)  # what cannot be smoothed is refused here, not in the first step of a training
    if teacher:
        _require_learning(loss, learned, method)
    return result


def _has_neighbors(term: Term, problem: Problem, method: Method) -> bool:
    """Whether walks and a teacher concern this term: a bonus whose q is written down, such as CRLC's, has neither."""
    p, q = Term(p=term.p, q=term.q).neighborhoods(problem)
    if p.log_at(None, slice(0, 1)).requires_grad:
        raise ValueError(f"{method} learns p itself: it cannot walk, and a teacher behind q would not be behind p.")
    return term is method or not isinstance(q, Dense)


def _has_own_candidates(term: Term, problem: Problem) -> bool:
    q = term.neighborhoods(problem)[1]
    return isinstance(q, Sparse) and q.own_candidates


def _require_learning(loss: Tensor, learned: dict[str, Tensor], method: Method) -> None:
    if not loss.requires_grad:
        return
    gradients = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
    idle = [name for name, gradient in zip(learned, gradients, strict=True) if gradient is None]
    if idle:
        raise ValueError(
            f"{method} has {' and '.join(idle)} among the candidates only, which learn nothing behind a teacher."
        )


def _debiased(recipe: Recipe, alpha: float) -> Recipe:
    @wraps(recipe)  # and so with its signature: a problem's tensors are passed by name, an estimator's in order
    def mixed(*in_order: Tensor, **tensors: Tensor) -> Rows:
        return debias(recipe(*in_order, **tensors), alpha)

    return mixed


def _within(p: Recipe, q: Recipe) -> Recipe:
    """p over the candidates that q has, anchor by anchor."""

    def restricted(**tensors: Tensor) -> Rows:
        of_p, of_q = (recipe(**_taken_by(recipe, tensors)) for recipe in (p, q))
        assert isinstance(of_q, Sparse), "only a sparse q has own candidates"
        return within(of_p, of_q)

    return _asking(restricted, (*asked_by(p), *asked_by(q)), settings_of(p) | settings_of(q))


def _walking(recipe: Recipe, length: int, method: Method, *, keeps_shares: bool) -> Recipe:
    @wraps(recipe)
    def walked(*in_order: Tensor, **tensors: Tensor) -> Rows:
        p = recipe(*in_order, **tensors)
        if not isinstance(p, Sparse):
            raise TypeError(f"Walks need a graph, but a p of {method} is {p}.")
        far = propagate(p, length)
        if not keeps_shares:
            return far
        return Sparse(far.indptr, far.columns, far.log_p, candidates=far.candidates, log_mass=p.log_mass())

    return walked


def _taught(recipe: Recipe, learns: tuple[str, ...]) -> Recipe:
    parameters = asked_by(recipe)
    past = {name: _teacher(name) for name in parameters if name in learns}

    def both(**tensors: Tensor) -> Rows:
        own = _taken_by(recipe, tensors)
        with torch.no_grad():
            teacher = recipe(**{**own, **{name: tensors[of] for name, of in past.items()}})
        return taught(recipe(**own), teacher)

    return _asking(both, (*parameters, *past.values()), settings_of(recipe))


def _taken_by(recipe: Recipe, given: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {*asked_by(recipe), *settings_of(recipe)}
    return {name: value for name, value in given.items() if name in names}


def _asking(recipe: Recipe, names: tuple[str, ...], settings: dict[str, object]) -> Recipe:
    """The recipe with a signature that asks for these tensors and has these settings."""
    by_name = inspect.Parameter.KEYWORD_ONLY
    parts = [inspect.Parameter(name, by_name) for name in dict.fromkeys(names)]
    parts += [inspect.Parameter(name, by_name, default=value) for name, value in settings.items()]
    recipe.__signature__ = inspect.Signature(parts)  # type: ignore[attr-defined]
    return recipe


def _teacher(name: str) -> str:
    return f"{name}_teacher"


def _with_teacher(method: Method) -> Callable[[Generator], Problem]:
    def example(generator: Generator) -> Problem:
        """The method's example, and a teacher that is not far from it."""
        problem = method.example(generator)
        learned = {name: problem[name] for name in method.learns}
        away = {
            _teacher(name): z + 0.3 * torch.randn(z.shape, dtype=z.dtype, generator=generator)
            for name, z in learned.items()
        }
        return {**problem, **away}

    return example
