"""Anchors that are a run of the columns: a part of the rows of the square problem, self excluded where it stands there.

Any cut of a batch into parts gives the rows, divergences and gradients of the whole.
"""

import math

import pytest
import torch
from tests.conformance import structures as s
from tests.conformance.test_pairs import EXACT, dense_kl
from torch.autograd import grad

from torchicon.core import Candidates, Dense, Kernel, Mixture, Sparse, block_budget, both_wide, kl, narrow, wide
from torchicon.neighborhoods import Gaussian, Perplexity

PARTS = [slice(0, 3), slice(2, 5), slice(3, 7), slice(0, 7), slice(5, 5)]
UNEVEN = 300  # bytes: tiles of 3 x 3 float64 scores, and blocks of one row


class Part:
    """Rows of the anchors ``part`` over all N points, and the oracle of the whole problem that they are a part of."""

    def __init__(self, name, rows, whole):
        self.name, self.rows, self.whole = name, rows, whole

    def __str__(self):
        return self.name


def others(part):
    return Candidates.others(s.N, first=part.start)


def kernel(recipe, weight, row_scale=None):
    whole = s.KernelRows(recipe, weight, row_scale=row_scale)

    def rows(x, part):
        scale = None if row_scale is None else row_scale[part]
        return Kernel(recipe, x[part], x, candidates=others(part), row_scale=scale)

    return Part(str(whole), rows, whole.dense)


def dense():
    whole = s.DenseRows(excludes_self=True)

    def rows(x, part):
        return Dense((x @ x.T).masked_fill(whole.mask(), -math.inf)[part], others(part))

    return Part("DenseRows", rows, whole.dense)


def sparse():
    whole = s.SparseRows()

    def rows(x, part):
        anchor, column, weight = whole.weights(x)
        mine = (anchor >= part.start) & (anchor < part.stop)
        where = anchor[mine] - part.start, column[mine]
        return Sparse.from_edges(*where, weight[mine], n=part.stop - part.start, candidates=others(part))

    return Part("SparseRows", rows, whole.dense)


def mixture(base):
    def rows(x, part):
        return Mixture(base.rows(x, part), 0.3)

    def whole(x):
        p, available = base.whole(x), 1 - torch.eye(s.N, dtype=x.dtype)
        return (0.7 * p + 0.3 * available / (s.N - 1)) * (p.detach().sum(1, keepdim=True) > 0)

    return Part(f"Mixture-{base}", rows, whole)


KERNELS = [kernel(*s.COSINE), kernel(*s.STUDENT), kernel(*s.GAUSSIAN, row_scale=s.SCALE)]
FULL = KERNELS + [mixture(base) for base in KERNELS]  # mass on all others
EACH = [dense(), sparse(), mixture(dense()), mixture(sparse()), *FULL]


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("structure", EACH, ids=str)
def test_rows_are_those_of_the_whole(structure, part, normal, generator):
    """All cells, gathered cells, support, empty rows and the gradient."""
    x, n = normal(s.N, s.D).requires_grad_(), part.stop - part.start
    rows, expected = structure.rows(x, part), structure.whole(x)[part]
    torch.testing.assert_close(rows.dense(), expected, **EXACT)
    for columns in (torch.randint(s.N, (n, width), generator=generator) for width in (1, 9)):
        torch.testing.assert_close(rows.log_at(columns, slice(0, n)).exp(), expected.gather(1, columns), **EXACT)
    columns, log_p = rows.support(slice(0, n))
    columns = torch.arange(s.N).expand_as(log_p) if columns is None else columns
    torch.testing.assert_close(torch.zeros_like(expected).scatter_add(1, columns, log_p.exp()), expected, **EXACT)
    assert torch.equal(rows.empty_anchors(), expected.sum(1) == 0)
    weight = normal(n, s.N)
    gradients = [grad((cells * weight).sum(), x, retain_graph=True)[0] for cells in (rows.dense(), expected)]
    torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("structure", FULL, ids=str)
def test_mean_log_is_over_the_others(structure, part, normal):
    x = normal(s.N, s.D)
    log_q = structure.whole(x).log().masked_fill(torch.eye(s.N, dtype=torch.bool), 0.0)
    found = structure.rows(x, part)
    torch.testing.assert_close(found.mean_log(others(part)), log_q[part].sum(1) / (s.N - 1), **EXACT)
    assert (found.mean_log(Candidates.all(s.N)) == -math.inf).all()


@pytest.mark.parametrize("size", [2**20, UNEVEN], ids=["whole", "tiles"])
@pytest.mark.parametrize("part", PARTS[1:3], ids=str)
@pytest.mark.parametrize("q", FULL, ids=str)
@pytest.mark.parametrize("p", EACH, ids=str)
def test_divergences_are_those_of_the_whole(p, q, part, size, normal):
    """Value, and gradients to both sides, by whatever route."""
    x, y, weight = normal(s.N, s.D).requires_grad_(), normal(s.N, s.D).requires_grad_(), normal(s.N)[part]
    expected = dense_kl(p.whole(x), q.whole(y))[part]
    with block_budget(size):
        found = kl(p.rows(x, part), q.rows(y, part))
        gradients = grad((found * weight).sum(), (x, y))
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(gradients, grad((expected * weight).sum(), (x, y)), **EXACT)


@pytest.mark.parametrize("limit", [wide, narrow, both_wide], ids=str)
def test_limits_are_those_of_the_whole(limit, normal):
    """Of p and q both kernels, as `both_wide` needs them."""
    x, y, recipe, part = normal(s.N, s.D), normal(s.N, s.D), Gaussian(1.3), slice(2, 5)
    found = limit(*(recipe(z[part], z, candidates=others(part)) for z in (x, y)))
    torch.testing.assert_close(found, limit(recipe(x), recipe(y))[part], **EXACT)


def test_perplexity_is_that_of_the_whole(normal):
    x, part, recipe = normal(s.N, s.D), slice(2, 5), Gaussian(Perplexity(3.0))
    found = recipe(x[part], x, candidates=others(part))
    torch.testing.assert_close(found.dense(), recipe(x).dense()[part], rtol=1e-9, atol=1e-11)


def test_the_points_themselves_are_no_other_keys(normal):
    """All points as anchors and as keys keep the symmetry, and half of the tiles."""
    x = normal(s.N, s.D).requires_grad_()
    kernels = s.DOT[0](x), s.DOT[0](x, x, candidates=Candidates.others(s.N, first=0))
    with block_budget(UNEVEN):
        assert len({len(q.tiling().tiles()) for q in kernels}) == 1
        (expected,), (found,) = (grad(q.log_normalizer().square().sum(), x) for q in kernels)
    torch.testing.assert_close(found, expected, **EXACT)
