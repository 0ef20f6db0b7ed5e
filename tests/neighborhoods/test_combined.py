"""Sums of kernels against a softmax of their logarithm, streamed and dense, of the whole and of parts."""

import math

import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from torchicon.core import Candidates, block_budget, kl
from torchicon.neighborhoods import (
    ConcatenatedKernels,
    Cosine,
    Dot,
    Exponential,
    Gaussian,
    Perplexity,
    Positives,
    StudentT,
    SumOfKernels,
)

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def sq_dist(a, b):
    return (a[:, None] - b).square().sum(-1)


# two learned temperatures s and t
KERNELS = {
    "exponential": (
        lambda s, t: (Exponential(2.0, s), Exponential(1.0, t)),
        lambda a, b, s: (-sq_dist(a, b) / s).exp(),
        lambda a, b, t: (-(sq_dist(a, b) + (sq_dist(a, b) == 0)).sqrt() / t).exp(),
    ),
    "radial and bilinear": (
        lambda s, t: (StudentT(1.0, scale=s), Cosine(t)),
        lambda a, b, s: 1 / (1 + sq_dist(a, b) / s**2),
        lambda a, b, t: (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / t).exp(),
    ),
    "bilinear": (
        lambda s, t: (Dot(s), Gaussian(t)),
        lambda a, b, s: (a @ b.T / s).exp(),
        lambda a, b, t: (-sq_dist(a, b) / (2 * t**2)).exp(),
    ),
}


def temperatures():
    return tuple(torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.6, 0.9))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("concatenated", [False, True])
def test_loss_and_gradients(name, concatenated, normal):
    """Of points and of both temperatures, in one tile and in many."""
    make, first, second = KERNELS[name]
    a = normal(8, 6).requires_grad_()
    s, t = temperatures()
    u, v = (a[:, :3], a[:, 3:]) if concatenated else (a, a)
    off = ~torch.eye(8, dtype=torch.bool)
    weight = (first(u, u, s) + second(v, v, t))[off].reshape(8, 7)
    partner = (torch.arange(8) ^ 1) - ((torch.arange(8) ^ 1) > torch.arange(8)).long()
    expected = -(weight[torch.arange(8), partner] / weight.sum(1)).log().sum()
    oracle = grad(expected, (a, s, t))
    recipe = (ConcatenatedKernels if concatenated else SumOfKernels)(*make(s, t))
    p = Positives()(torch.arange(8) // 2)
    for size in (2**20, 300):
        with block_budget(size):
            found = kl(p, recipe(a)).sum()
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(grad(found, (a, s, t)), oracle, **EXACT)


@pytest.mark.parametrize("make", [SumOfKernels, ConcatenatedKernels])
def test_gathered_pairs_are_those_of_the_whole(make, normal):
    """Over keys, where few columns of many are scored one by one."""
    a, b = normal(4, 4).requires_grad_(), normal(50, 4).requires_grad_()
    q = make(StudentT(), Exponential(1.0, 0.5))(a, b)
    columns = torch.tensor([[3], [0], [49], [17]])
    few, all_ = q.score_at(columns, slice(0, 4)).sum(), q.score_at(None, slice(0, 4)).gather(1, columns).sum()
    torch.testing.assert_close(few, all_, **EXACT)
    torch.testing.assert_close(grad(few, (a, b), retain_graph=True), grad(all_, (a, b)), **EXACT)


def test_a_kernel_with_itself_is_that_kernel(normal):
    """Twice a kernel has the same rows; a thousandth of a temperature does not underflow."""
    x = normal(6, 4)
    for kernel in (Exponential(1.0, 0.3), Cosine(1e-3)):
        torch.testing.assert_close(SumOfKernels(kernel, kernel)(x).dense(), kernel(x).dense(), **EXACT)


def test_three_kernels_and_a_sum_of_sums(normal):
    x = normal(5, 6)
    kernels = Exponential(2.0), Exponential(1.0), StudentT()
    whole = SumOfKernels(*kernels)(x, candidates=Candidates.all(5)).dense()
    weight = sum(kernel.pairwise(x, x).exp() for kernel in kernels)
    torch.testing.assert_close(whole, weight / weight.sum(1, keepdim=True), **EXACT)
    thirds = ConcatenatedKernels(*kernels)(x, candidates=Candidates.all(5)).dense()
    weight = sum(k.pairwise(p, p).exp() for k, p in zip(kernels, x.split(2, dim=1), strict=True))
    torch.testing.assert_close(thirds, weight / weight.sum(1, keepdim=True), **EXACT)
    with pytest.raises(ValueError, match="as one sum"):
        SumOfKernels(SumOfKernels(*kernels), Dot())(x)


def test_mean_log_over_candidates(normal):
    x = normal(6, 4)
    q = SumOfKernels(Gaussian(), Exponential(1.0))(x)
    log_q = q.dense().log()
    mean = torch.where(log_q == -math.inf, 0.0, log_q).sum(1) / 5
    torch.testing.assert_close(q.mean_log(Candidates.others(6)), mean, **EXACT)


def test_coincident_points_have_gradients():
    x = torch.zeros(4, 6, requires_grad=True)
    for make in (SumOfKernels, ConcatenatedKernels):
        loss = kl(Positives()(torch.arange(4) // 2), make(Exponential(1.0), Exponential(0.5))(x)).sum()
        assert torch.equal(grad(loss, x)[0], torch.zeros(4, 6))


@pytest.mark.parametrize("make", [SumOfKernels, ConcatenatedKernels])
def test_refusals(make, normal):
    with pytest.raises(ValueError, match="at least two kernels, got 1"):
        make(Gaussian())
    with pytest.raises(ValueError, match="give a bandwidth"):
        make(Gaussian(), Gaussian(Perplexity(2.0)))


def test_halves_need_an_even_number(normal):
    with pytest.raises(ValueError, match="2 kernels cannot share 5 dimensions"):
        ConcatenatedKernels(Gaussian(), Dot())(normal(4, 5))
