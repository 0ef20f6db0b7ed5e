"""Groups whose edges are not listed: the same rows and the same loss as those that are, in memory of the points."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import grad

from torchicon.core import Candidates, Kernel, Sparse, block_budget, cross_entropy, explain, kl, members, objective
from torchicon.core import reference_kl as reference
from torchicon.core.routes import by_group
from torchicon.neighborhoods import Classes, Cosine, Dot, Gaussian, Positives, StudentT

EXACT = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture
def always(monkeypatch):
    """Every group is worth a block."""
    monkeypatch.setattr(members, "_FEWEST_PAIRS", 0)
    monkeypatch.setattr(members, "_PAIRS_OF_A_GROUP", 0)


def is_listed(p):
    return "columns" in vars(p)


def agree(p, q, x, *, weight=None):
    """The route by groups against the generic path on listed edges, values and gradients."""
    assert by_group(p, q)
    weight = torch.linspace(0.5, 1.5, p.n, dtype=torch.float64) if weight is None else weight
    found = kl(p, q)
    assert not is_listed(p)
    expected = reference(p, q)
    assert is_listed(p)
    torch.testing.assert_close(found, expected, **EXACT)
    gradients = [grad((value * weight).sum(), x, retain_graph=True) for value in (found, expected)]
    torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize("budget", [1, 700, 2**20])
@pytest.mark.parametrize("recipe", [Cosine(0.3), Gaussian(), StudentT(), Dot()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("groups", [[0, 1, 0, 2, 1, 0, 5, 1], [3] * 8, [7, 6, 5, 4, 3, 2, 1, 1]])
def test_other_members_of_a_group(groups, recipe, budget, normal, always):
    """SupCon: with groups of one, whose rows are empty, and one group of all, outside which nothing is left."""
    x = normal(8, 3).requires_grad_()
    with block_budget(budget):
        agree(Positives()(torch.tensor(groups)), recipe(x), x)


@pytest.mark.parametrize("budget", [1, 700, 2**20])
def test_a_class_with_oneself(budget, normal, always):
    x = normal(9, 3).requires_grad_()
    q = Kernel(Dot(), x, x, candidates=Candidates.all(9))
    with block_budget(budget):
        agree(Classes()(torch.tensor([2, 0, 1, 0, 2, 2, 2, 0, 4])), q, x)


def test_other_keys(normal, always):
    """A memory bank: groups of keys that no anchor is of, and anchors whose group no key is of."""
    a, b = normal(5, 3).requires_grad_(), normal(9, 3).requires_grad_()
    p = Positives()(torch.tensor([1, 4, 1, 9, 3]), torch.tensor([0, 1, 1, 2, 3, 3, 4, 5, 1]))
    agree(p, Dot()(a, b), (a, b))
    assert kl(p, Dot()(a, b))[3] == 0


def test_anchors_among_the_columns_of_all(normal, always):
    """One process's anchors 3 to 5 among the candidates of all."""
    a = normal(9, 3).requires_grad_()
    groups, candidates = torch.tensor([0, 1, 0, 1, 0, 0, 1, 2, 2]), Candidates.others(9, first=3)
    p = Positives()(groups[3:6], groups, candidates=candidates)
    agree(p, Kernel(Dot(), a[3:6], a, candidates=candidates), a)


def test_scaled_rows(normal, always):
    x = normal(8, 3).requires_grad_()
    q = Kernel(Dot(), x, row_scale=torch.linspace(0.0, 2.0, 8, dtype=torch.float64))
    agree(Positives()(torch.arange(8) % 3), q, x)


def test_cross_entropy_and_objective(normal, always):
    x = normal(8, 3)
    p, listed = (Positives()(torch.tensor([0, 0, 1, 1, 1, 2, 3, 3])) for _ in range(2))
    listed = Sparse(listed.indptr, listed.columns, candidates=listed.candidates)
    for divergence in (cross_entropy, objective):
        torch.testing.assert_close(divergence(p, Cosine(0.2)(x)), divergence(listed, Cosine(0.2)(x)), **EXACT)
    assert not is_listed(p)
    assert explain(p, Cosine(0.2)(x)).route == "sparse_kernel"
    assert not is_listed(p)


@pytest.mark.parametrize("candidates", [Candidates.all(6), Candidates.others(6)])
def test_a_self_that_only_one_of_them_excludes_takes_the_edges(candidates, normal, always):
    x = normal(6, 2)
    q = Kernel(Dot(), x, x, candidates=candidates)
    assert by_group(Positives()(torch.arange(6) % 2), q) == candidates.excludes_self
    assert by_group(Classes()(torch.arange(6) % 2), q) != candidates.excludes_self


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=12),
    st.booleans(),
)
def test_listed_edges_are_the_pairs_of_a_group(groups, with_oneself):
    groups = torch.tensor(groups)
    p = (Classes() if with_oneself else Positives())(groups)
    same = groups[:, None] == groups
    if not with_oneself:
        same.fill_diagonal_(False)
    count = same.sum(1, keepdim=True)
    assert torch.equal(p.counts, count[:, 0])
    assert torch.equal(p.empty_anchors(), count[:, 0] == 0)
    torch.testing.assert_close(p.dense(), torch.where(same, 1.0 / count.double(), 0.0), **EXACT)


def test_few_pairs_are_listed(normal):
    x = normal(8, 3)
    assert not by_group(Positives()(torch.arange(8) // 4), Cosine()(x))
    few_large, many_small = torch.arange(2048) % 2, torch.arange(2048) // 40
    x = torch.zeros(2048, 1)
    assert by_group(Positives()(few_large), Cosine()(x))
    assert not by_group(Positives()(many_small), Cosine()(x))


def test_float32_keeps_solved_batches(generator):
    """Classes far apart and within themselves equal: a loss of e^-40 times the sizes."""
    x = torch.eye(2).repeat_interleave(1100, 0)
    p, q = Positives()(torch.arange(2200) // 1100), Cosine(1 / 40)(x)
    assert by_group(p, q)
    loss = kl(p, q)
    expected = math.log1p(1100 / 1099 * math.exp(-40))
    torch.testing.assert_close(loss.double() / expected, torch.ones(2200, dtype=torch.float64), rtol=1e-4, atol=0)


def test_a_second_derivative_is_refused(normal, always):
    z = normal(12, 3).requires_grad_()
    loss = kl(Positives()(torch.arange(12) // 4), Cosine(0.5)(z)).sum()
    with pytest.raises(NotImplementedError, match="no second derivative"):
        grad(loss, z, create_graph=True)


PEAK = """
import resource, sys, torch
from torchicon.core import kl
from torchicon.neighborhoods import Cosine, Positives
torch.set_num_threads(1)
def loss(n):
    z = torch.randn(n, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    kl(Positives()(torch.arange(n) % 2), Cosine(0.1)(z)).mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
idle = loss(2048)
print(loss(8192) - idle)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX")
def test_memory_is_that_of_the_points():
    """Two classes of 4,096: 32 million pairs, a GiB if they were listed."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 96 * 2**20
