"""The limits of the divergence against dense formulas in float64: values, gradients, and how they are approached."""

import math

import pytest
import torch
from tests.core.kernel_cases import BUDGETS, EXACT, SCORES, SHAPES, Case, D, N
from torch.autograd import grad

from torchicon.core import (
    Candidates,
    CandidatesError,
    Dense,
    Mixture,
    Sparse,
    SupportError,
    block_budget,
    both_wide,
    entropy,
    kl,
    narrow,
    wide,
)
from torchicon.neighborhoods import Clusters, Dot, Exponential, Gaussian, Perplexity

ALPHA = 0.3


def supervisory(kind, case, normal):
    """Rows, their matrix, and what is learned with them. Rows 2 and 5 have several positives, row 3 of a graph none."""
    logits = normal(N, case.m).requires_grad_()
    if kind == "dense":
        matrix = logits.masked_fill(~case.cells, -math.inf).softmax(1)
        return lambda: Dense(logits, case.candidates), matrix, (logits,)
    listed = case.cells & (torch.arange(N * case.m).reshape(N, case.m) % 3 == 1)
    listed[2], listed[5], listed[3] = case.cells[2], case.cells[5] & (torch.arange(case.m) < 3), False
    weight = torch.where(listed, logits.exp(), 0.0)
    matrix = weight / torch.where(listed.any(1, keepdim=True), weight.sum(1, keepdim=True), 1.0)
    anchor, column = listed.nonzero().T

    def sparse():
        return Sparse.from_edges(anchor, column, weight[anchor, column], n=N, candidates=case.candidates)

    if kind == "sparse":
        return sparse, matrix, (logits,)
    mixed = (1 - ALPHA) * matrix + ALPHA * case.cells.double() / case.cells.sum(1, keepdim=True)
    return lambda: Mixture(sparse(), ALPHA), mixed * listed.any(1, keepdim=True), (logits,)


def expected_limit(which, case, matrix):
    attraction = (matrix * case.scores).sum(1)
    if which is wide:
        value = case.mean(case.scores) - attraction
    else:
        value = case.scores.masked_fill(~case.cells, -math.inf).amax(1) - attraction
    return value * (matrix.sum(1) > 0)


@pytest.mark.parametrize("which", [wide, narrow], ids=repr)
@pytest.mark.parametrize("kind", ["sparse", "dense", "mixture"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SCORES)
def test_contrast_equals_the_dense_formula(which, kind, shape, name, normal):
    """Mean or largest score less the mean under p (theory 3.1, 3.3), with all gradients, in blocks of any size."""
    case = Case(name, shape, normal)
    p, matrix, learned = supervisory(kind, case, normal)
    learned = case.learned + learned
    expected = expected_limit(which, case, matrix)
    if kind != "dense":
        assert expected[3] == 0
    cotangent = normal(N)
    oracle = grad(expected @ cotangent, learned, retain_graph=True)
    for size in BUDGETS:
        with block_budget(size):
            found = which(p(), case.make())
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(grad(found @ cotangent, learned, retain_graph=True), oracle, **EXACT)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SCORES)
def test_both_wide_equals_half_the_variance(name, shape, normal):
    """Of the difference of the scores over an anchor's candidates (theory 3.2); either side may be learned."""
    p, q = Case("gaussian", shape, normal), Case(name, shape, normal)
    gap = p.scores - q.scores
    expected = q.mean((gap - q.mean(gap)[:, None]).square()) / 2
    cotangent = normal(N)
    learned = p.learned + q.learned
    oracle = grad(expected @ cotangent, learned)
    for size in BUDGETS:
        with block_budget(size):
            found = both_wide(p.make(), q.make())
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(grad(found @ cotangent, learned), oracle, **EXACT)


@pytest.mark.parametrize("kind", ["sparse", "dense", "mixture"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_error_of_wide_is_half_the_variance(kind, shape, normal):
    """h / 2 Var_k(s_ik) (theory 3.1), and none where p is empty."""
    case = Case("gaussian", shape, normal)
    p, matrix, _ = supervisory(kind, case, normal)
    scores = case.scores.detach()
    variance = case.mean((scores - case.mean(scores)[:, None]).square()) * (matrix.sum(1) > 0)
    h = 1e-5
    slope = (wide.before(p(), case.make(), h) - wide(p(), case.make())) / h
    torch.testing.assert_close(slope, variance / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_before_wide_is_the_rescaled_kl(shape, normal):
    """(KL_i - (log M - H(p_i))) / h, with q of precision h."""
    case = Case("student", shape, normal)
    p, _, _ = supervisory("dense", case, normal)
    q = case.make()
    expected = (kl(p(), q.tempered(0.2)) - (math.log(q.candidates.per_anchor) - entropy(p()))) / 0.2
    torch.testing.assert_close(wide.before(p(), q, 0.2), expected, **EXACT)


@pytest.mark.parametrize("shape", SHAPES)
def test_before_narrow_is_the_rescaled_kl(shape, normal):
    """tau (KL_i + H(p_i)), with q of precision 1 / tau; between 0 and tau log M above the limit (theory 3.3)."""
    case = Case("dot", shape, normal)
    p, _, _ = supervisory("sparse", case, normal)
    q = case.make()
    for tau in (0.2, 1.0, 3.0):
        before = narrow.before(p(), q, tau)
        torch.testing.assert_close(before, tau * (kl(p(), q.tempered(1 / tau)) + entropy(p())), **EXACT)
        excess = before - narrow(p(), q)
        assert excess.min() >= -1e-12
        assert excess.max() <= tau * math.log(q.candidates.per_anchor)


def test_ties_slow_the_approach_and_share_the_gradient():
    """With t nearest candidates at one distance the error is h log t, and each gets 1 / t of the gradient."""
    x = torch.tensor([[0.0, 0], [0, 2], [1, 0], [-1, 0], [0, -1]], dtype=torch.float64, requires_grad=True)
    p = Sparse.from_edges(torch.tensor([0]), torch.tensor([1]), n=5, candidates=Candidates.others(5))
    q = Exponential(2.0)(x)
    for h in (1e-2, 1e-3):
        torch.testing.assert_close(narrow.before(p, q, h)[0], 4 - 1 + h * torch.tensor(3.0).double().log(), **EXACT)
    towards_center = 2 * x.detach()[2:] / 3
    of_limit = grad(narrow(p, q).sum(), x)[0]
    torch.testing.assert_close(of_limit[2:], -towards_center, **EXACT)
    torch.testing.assert_close(of_limit, grad(narrow.before(p, Exponential(2.0)(x), 1e-2).sum(), x)[0], **EXACT)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_wide_is_approached_linearly(shape, normal):
    """KL / h^2 of two kernels of precision h."""
    p, q = Case("laplacian", shape, normal), Case("gaussian", shape, normal)
    limit = both_wide(p.make(), q.make())
    errors = []
    for h in (1e-2, 1e-3):
        before = both_wide.before(p.make(), q.make(), h)
        torch.testing.assert_close(before, kl(p.make().tempered(h), q.make().tempered(h)) / h**2, **EXACT)
        errors.append(float((before - limit).detach().abs().sum()))
    assert 0.95 < math.log10(errors[0] / errors[1]) < 1.05


@pytest.mark.parametrize("make", [lambda x: Gaussian(Perplexity(3.0))(x), lambda x: Dot(0.5)(x)])
def test_an_anchors_own_precision_counts(make, normal):
    """A perplexity gives every anchor its precision; the limits are of those scores."""
    x = normal(N, D)
    q = make(x)
    scores = q.dense().log()  # up to a constant in each row, which no limit sees
    p = Sparse.from_neighbors((torch.arange(N)[:, None] + 1) % N, candidates=Candidates.others(N))
    own = scores[torch.arange(N), (torch.arange(N) + 1) % N]
    torch.testing.assert_close(narrow(p, q), scores.amax(1) - own, **EXACT)
    finite = torch.where(scores > -math.inf, scores, 0.0)
    torch.testing.assert_close(wide(p, q), finite.sum(1) / (N - 1) - own, **EXACT)
    for h in (0.5, 2.0):
        torch.testing.assert_close(q.tempered(h).dense(), (h * scores).softmax(1), **EXACT)


KERNEL = Gaussian()(torch.randn(N, D, generator=torch.Generator().manual_seed(0)))
RING = Sparse.from_neighbors((torch.arange(N)[:, None] + 1) % N, candidates=Candidates.others(N))


def both_forms(limit):
    return [limit, lambda p, q: limit.before(p, q, 0.1)]


class TestRefusals:
    @pytest.mark.parametrize("limit", [*both_forms(wide), *both_forms(narrow), *both_forms(both_wide)])
    def test_only_a_kernel_has_a_width(self, limit, unchecked):
        for q in (Dense.uniform(N), Clusters()(torch.eye(N)), Mixture(KERNEL, 0.1)):
            with pytest.raises(TypeError, match="Only a kernel has a width"):
                limit(KERNEL, q)
        with pytest.raises(TypeError, match="q must be a neighborhood"):
            limit(KERNEL, torch.eye(N))
        with pytest.raises(TypeError, match="p must be a neighborhood"):
            limit(torch.eye(N), KERNEL)

    @pytest.mark.parametrize("limit", both_forms(both_wide))
    def test_both_wide_needs_two_kernels_of_one_self_rule(self, limit):
        with pytest.raises(TypeError, match="Only a kernel has a width"):
            limit(RING, KERNEL)
        with_self = Gaussian()(KERNEL.anchors, candidates=Candidates.all(N))
        for p, q in ((KERNEL, with_self), (with_self, KERNEL)):
            with pytest.raises(CandidatesError, match="must agree whether self is a candidate"):
                limit(p, q)

    @pytest.mark.parametrize("limit", [*both_forms(wide), *both_forms(narrow), *both_forms(both_wide)])
    def test_other_columns(self, limit):
        texts = Gaussian()(KERNEL.anchors, KERNEL.anchors, candidates=Candidates.all(N, "texts"))
        with pytest.raises(CandidatesError, match="needs the same columns"):
            limit(texts, KERNEL)

    @pytest.mark.parametrize("limit", [*both_forms(wide), *both_forms(narrow)])
    def test_mass_where_the_kernel_has_no_cell(self, limit):
        with pytest.raises(SupportError, match="KL is infinite"):
            limit(Dense.uniform(N), KERNEL)

    def test_they_print_their_names(self):
        assert [repr(limit) for limit in (wide, narrow, both_wide)] == ["wide", "narrow", "both wide"]
