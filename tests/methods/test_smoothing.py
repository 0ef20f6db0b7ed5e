"""Smoothing of every row of the table (theory 5) against dense numpy, torch's label smoothing and detached keys."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Cluster, Dense, Kernel, Mixture, Sparse, SupportError, cross_entropy, kl
from torchicon.methods import IDENTITIES, TABLE, Limit, find, smoothed
from torchicon.methods.method import asked_by
from torchicon.methods.verify import check

EXACT = {"rtol": 1e-10, "atol": 1e-12}
EVERY_ROW = pytest.mark.parametrize("method", [*TABLE, *IDENTITIES], ids=str)


def problem_of(method, *, learning=False):
    problem = method.example(torch.Generator().manual_seed(7))
    learned = {name: problem[name].requires_grad_() for name in method.learns if learning}
    return {**problem, **learned}


def dense(rows):
    return rows.dense().double().numpy()


def close(found, expected, *, of):
    """To the last digits of the rows' own type."""
    tolerance = EXACT if of.dtype == torch.float64 else {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(found, expected, **tolerance)


def cells(rows):
    """1 at each candidate that an anchor has, else 0."""
    if isinstance(rows, Sparse) and rows.own_candidates:
        listed = np.zeros((rows.n, rows.m))
        listed[rows.anchor.numpy(), rows.columns.numpy()] = 1.0
        return listed
    cell = np.ones((rows.n, rows.m))
    if rows.candidates.excludes_self:
        np.fill_diagonal(cell, 0.0)
    return cell


def mixed(rows, alpha, cell=None):
    """(1 - alpha) p + alpha / M over the candidates; nothing for an anchor without neighbors."""
    given = dense(rows)
    cell = cells(rows) if cell is None else cell
    uniform = cell / cell.sum(1, keepdims=True)
    return ((1 - alpha) * given + alpha * uniform) * (given.sum(1, keepdims=True) > 0)


def candidates_of(p, q):
    """Those of q, where anchors have their own; else p's."""
    return cells(q if isinstance(q, Sparse) and q.own_candidates else p)


def divergences(a, b, *, cross):
    """KL of each row, or its cross-entropy; 0 log 0 = 0."""
    mass = a > 0
    return np.where(mass, a * np.log((1.0 if cross else np.where(mass, a, 1.0)) / np.where(mass, b, 1.0)), 0.0).sum(1)


def total(term, problem, p, q, rows):
    """Rows' divergences put together as the term says, without its factor."""
    if term.weights == "joint":
        log_r, log_rho = p.log_mass().double().numpy(), q.log_mass().double().numpy()
        r = np.exp(log_r)
        return (r * rows).sum() + (r[r > 0] * (log_r - log_rho)[r > 0]).sum()
    if isinstance(term.weights, str):
        supervised = dense(p if term.direction == "forward" else q).sum(1) > 0
        return rows.sum() / (supervised.sum() if term.weights == "mean" else 1)
    weights = term.weights(**{name: problem[name] for name in asked_by(term.weights)})
    return (weights.numpy() * rows).sum()


@EVERY_ROW
def test_debiased_q(method):
    """q is the dense formula, p as it was, and KL(p || q) <= log(M / alpha) for every anchor (F3b)."""
    if isinstance(method.claim, Limit):
        with pytest.raises(ValueError, match="is a limit of a divergence"):
            smoothed(method, debias_q=0.6)
        return
    result, problem = smoothed(method, debias_q=0.6), problem_of(method)
    for term, smooth in zip(method.terms, result.terms, strict=True):
        (p, q), (same_p, smooth_q) = term.neighborhoods(problem), smooth.neighborhoods(problem)
        close(dense(smooth_q), mixed(q, 0.6), of=q)
        close(dense(same_p), dense(p), of=p)
        assert (kl(same_p, smooth_q).detach().numpy() <= np.log(cells(q).sum(1) / 0.6)).all()


@EVERY_ROW
def test_debiased_p(method):
    """p is the dense formula, q as it was; refused where q leaves candidates out."""
    problem, unreached = problem_of(method), False
    for term in method.terms:
        p, q = term.neighborhoods(problem)
        if term.direction == "forward":
            unreached |= bool(((mixed(p, 0.3, candidates_of(p, q)) > 0) & (dense(q) == 0)).any())
    if isinstance(method.claim, Limit) or unreached:
        with pytest.raises(ValueError if isinstance(method.claim, Limit) else SupportError):
            smoothed(method, debias_p=0.3)
        return
    for term, smooth in zip(method.terms, smoothed(method, debias_p=0.3).terms, strict=True):
        (p, q), (smooth_p, same_q) = term.neighborhoods(problem), smooth.neighborhoods(problem)
        close(dense(smooth_p), mixed(p, 0.3, candidates_of(p, q)), of=p)
        close(dense(same_q), dense(q), of=q)


@EVERY_ROW
def test_loss_of_both(method):
    """The whole loss from dense matrices: direction, weights and factors are the row's own."""
    if isinstance(method.claim, Limit):
        return
    result, problem, expected = smoothed(method, debias_p=0.2, debias_q=0.7), problem_of(method), 0.0
    for term in method.terms:
        p, q = term.neighborhoods(problem)
        a, b = (mixed(p, 0.2, candidates_of(p, q)), mixed(q, 0.7))[:: 1 if term.direction == "forward" else -1]
        expected += term.coefficient * total(
            term, problem, p, q, divergences(a, b, cross=term.divergence is cross_entropy)
        )
    exact = all(rows.dtype == torch.float64 for term in method.terms for rows in term.neighborhoods(problem))
    assert math.isclose(result.loss(problem), expected, rel_tol=1e-9 if exact else 1e-6, abs_tol=1e-12)
    assert check(result).passed


def given_terms(method):
    """Neighborhoods of the terms that walks and a teacher concern; None where p is learned."""
    found, problem = [], problem_of(method, learning=True)
    for term in method.terms:
        p, q = term.neighborhoods(problem)
        if p.log_at(None, slice(0, p.n)).requires_grad:
            return None, problem
        if term is method or not isinstance(q, Dense):
            found.append((p, q))
    return found, problem


def why_not_walk(method):
    """The reason to expect, or None."""
    if isinstance(method.claim, Limit):
        return "is a limit of a divergence"
    terms, _ = given_terms(method)
    if terms is None:
        return "learns p itself"
    for p, _ in terms:
        if not isinstance(p, Sparse):
            return "Walks need a graph"
        if p.n != p.m:
            return "Walks need as many anchors as candidates"
    return None


@EVERY_ROW
def test_walks(method):
    """p is (P + P^2 + P^3) / 3, without self where self is no candidate (F4, F4b); else a reason is given."""
    if reason := why_not_walk(method):
        with pytest.raises((TypeError, ValueError), match=reason):
            smoothed(method, walks=3)
        return
    result = smoothed(method, walks=3)
    problem = problem_of(method)
    for term, smooth in zip(method.terms, result.terms, strict=True):
        (p, q), (far, _) = term.neighborhoods(problem), smooth.neighborhoods(problem)
        step = dense(p)
        if term is not method and isinstance(q, Dense):  # a bonus, not neighbors
            close(dense(far), step, of=p)
            continue
        expected = step + step @ step + step @ step @ step
        if p.candidates.excludes_self:
            np.fill_diagonal(expected, 0.0)
        expected /= np.maximum(expected.sum(1, keepdims=True), 1e-300)
        close(dense(far), expected, of=p)
        if term.weights == "joint":  # anchors keep their shares
            torch.testing.assert_close(far.log_mass(), p.log_mass(), **EXACT)
    assert check(result).passed


def why_not_teach(method):
    """The reason to expect, or None."""
    if isinstance(method.claim, Limit):
        return "is a limit of a divergence"
    terms, problem = given_terms(method)
    if terms is None:
        return "learns p itself"
    anchors = []
    for _, q in terms:
        while isinstance(q, Mixture):
            q = q.base
        if not isinstance(q, Kernel | Cluster):
            return "A teacher stands on the candidates' side"
        anchors.append(q.anchors if isinstance(q, Kernel) else q.left)
    everything = sum(side.sum() for side in anchors)
    idle = [grad(everything, problem[name], allow_unused=True, retain_graph=True)[0] is None for name in method.learns]
    bonus = len(terms) < len(method.terms)  # what is written down learns without a teacher
    return "among the candidates only" if any(idle) and not bonus else None


@EVERY_ROW
def test_teacher(method):
    """A teacher that equals the student changes no value and gets no gradient; else a reason is given."""
    if reason := why_not_teach(method):
        with pytest.raises((TypeError, ValueError), match=reason):
            smoothed(method, teacher=True)
        return
    result = smoothed(method, teacher=True)
    problem = problem_of(method)
    past = {f"{name}_teacher": problem[name].clone().requires_grad_() for name in method.learns}
    learned = {name: problem[name].clone().requires_grad_() for name in method.learns}
    loss = result.loss({**problem, **learned, **past})
    torch.testing.assert_close(loss.detach(), method.loss(problem), **EXACT)
    gradients = grad(loss, [*past.values(), *learned.values()], allow_unused=True)
    assert all(gradient is None for gradient in gradients[: len(past)])
    assert all(gradient.isfinite().all() for gradient in gradients[len(past) :])
    assert check(result).passed


def taught_gradient(name):
    """A problem, the value and the gradient of a taught row."""
    method = smoothed(find(name), teacher=True)
    problem = problem_of(method)
    learned = {name: problem[name].clone().requires_grad_() for name in method.learns}
    loss = method.loss({**problem, **learned})
    return problem, loss, grad(loss, list(learned.values()))


def test_simclr_with_a_teacher():
    """The keys are the teacher's, without self, and only anchors have a gradient; by torch's cross-entropy."""
    problem, loss, gradient = taught_gradient("SimCLR")
    z, keys = problem["z"].clone().requires_grad_(), problem["z_teacher"]
    logits = F.cosine_similarity(z[:, None], keys[None], dim=-1) / 0.1
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    expected = F.cross_entropy(logits, torch.arange(len(z)).roll(len(z) // 2))
    torch.testing.assert_close(loss, expected, **EXACT)
    torch.testing.assert_close(gradient, grad(expected, z), **EXACT)


def test_clustering_with_a_teacher():
    """q = sum_c phi_ic t_jc / sum_k t_kc, with t the teacher's; the classes as positives."""
    problem, loss, gradient = taught_gradient("Supervised clustering")
    logits, t = problem["logits"].clone().requires_grad_(), problem["logits_teacher"].softmax(1)
    q = logits.softmax(1) @ (t / t.sum(0)).T
    same = (problem["label"][:, None] == problem["label"]).double()
    p = same / same.sum(1, keepdim=True)
    expected = (torch.xlogy(p, p) - p * q.log()).sum(1).mean()
    torch.testing.assert_close(loss, expected, **EXACT)
    torch.testing.assert_close(gradient, grad(expected, logits), **EXACT)


def test_debiased_p_is_label_smoothing():
    """`F.cross_entropy(label_smoothing)` up to the entropy of p (B10), value and every gradient."""
    method = smoothed(find("Cross-entropy"), debias_p=0.3)
    problem = problem_of(method)
    learned = [problem[name].clone().requires_grad_() for name in method.learns]
    z, prototypes, bias = learned
    loss = method.loss({**problem, **dict(zip(method.learns, learned, strict=True))})
    expected = F.cross_entropy(F.linear(z, prototypes, bias), problem["label"], label_smoothing=0.3)
    classes = len(prototypes)
    p = torch.tensor([0.7 + 0.3 / classes] + [0.3 / classes] * (classes - 1), dtype=torch.float64)
    torch.testing.assert_close(loss - torch.xlogy(p, p).sum(), expected, **EXACT)
    torch.testing.assert_close(grad(loss, learned), grad(expected, learned), **EXACT)
