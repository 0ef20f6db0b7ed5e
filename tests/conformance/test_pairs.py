"""Every pair of structures: the fast route, the generic route and the dense formula give one number."""

import itertools
import math
import re

import pytest
import torch
from scipy.special import entr, rel_entr
from tests.conformance import structures as s
from torch.autograd import grad

from torchicon.core import (
    Candidates,
    CandidatesError,
    Dense,
    Mixture,
    Sparse,
    SupportError,
    block_budget,
    cross_entropy,
    entropy,
    kl,
    reference_kl,
)
from torchicon.core.graph_cluster import base_of
from torchicon.core.routes import DEBIASED_ROUTES, ROUTES, route_of

SQUARE = [
    s.DenseRows(),
    s.FullDense(),
    s.SparseRows(),
    s.KernelRows(*s.COSINE),
    s.KernelRows(*s.DOT, includes_self=True),
    s.KernelRows(*s.GAUSSIAN, row_scale=s.SCALE),
    s.KernelRows(*s.STUDENT),
    s.ClusterRows("cluster"),
    s.ClusterRows("point"),
]
RECTANGULAR = [
    s.FullDense(square=False),
    s.SparseRows(square=False),
    s.KernelRows(*s.COSINE, square=False),
    s.KernelRows(*s.STUDENT, square=False, row_scale=s.SCALE),
    s.ClusterRows("cluster", square=False),
]
SQUARE += [s.RaisedRows()]
RECTANGULAR += [s.RaisedRows(square=False)]
SQUARE += [s.MixtureRows(SQUARE[i]) for i in (0, 2, 3, 6, 7)]
RECTANGULAR += [s.MixtureRows(base) for base in RECTANGULAR[1:5]]
POINTS = torch.randn(s.N, s.D, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def covers(q, p):
    """Whether q has mass wherever p has."""
    return not ((p.dense(POINTS) > 0) & (q.dense(POINTS) == 0)).any()


PAIRS = [pair for family in (SQUARE, RECTANGULAR) for pair in itertools.product(family, repeat=2)]
FINITE = [(p, q) for p, q in PAIRS if covers(q, p)]
INFINITE = [(p, q) for p, q in PAIRS if not covers(q, p)]
EXACT = {"rtol": 1e-10, "atol": 1e-11}


def dense_kl(p, q):
    """The formula, term by term, with 0 log 0 = 0."""
    mass = p > 0
    return torch.where(mass, p * (torch.where(mass, p, 1.0).log() - torch.where(mass, q, 1.0).log()), 0.0).sum(1)


@pytest.mark.parametrize(("p", "q"), FINITE, ids=str)
def test_routes_agree(p, q, normal):
    """Values with scipy's; gradients to both sides with those of the dense formula; whole or in uneven tiles."""
    x, y, weight = normal(s.N, s.D).requires_grad_(), normal(s.N, s.D).requires_grad_(), normal(s.N)
    dense = p.dense(x), q.dense(y)
    expected = torch.from_numpy(rel_entr(*(v.detach().numpy() for v in dense)).sum(1))
    oracle = grad((dense_kl(*dense) * weight).sum(), (x, y))
    for divergence, size in ((kl, 2**20), (kl, 300), (reference_kl, 2**20)):
        with block_budget(size):
            found = divergence(p.rows(x), q.rows(y))
            gradients = grad((found * weight).sum(), (x, y))
        torch.testing.assert_close(found.detach(), expected, **EXACT)
        torch.testing.assert_close(gradients, oracle, **EXACT)
        assert found.min() >= -1e-12


@pytest.mark.parametrize(("p", "q"), INFINITE, ids=str)
def test_routes_refuse_an_infinite_value(p, q):
    """By the name of a cell that has mass in p and none in q."""
    bad = (p.dense(POINTS) > 0) & (q.dense(POINTS) == 0)
    for divergence in (kl, reference_kl, cross_entropy):
        with pytest.raises(SupportError) as raised:
            divergence(p.rows(POINTS), q.rows(POINTS))
        i, j = (int(v) for v in re.search(r"q\[(\d), (\d)\] = 0", str(raised.value)).groups())
        assert bad[i, j]


@pytest.mark.parametrize(("p", "q"), FINITE, ids=str)
def test_cross_entropy_is_kl_plus_entropy(p, q, normal):
    rows, target = p.rows(normal(s.N, s.D)), q.rows(normal(s.N, s.D))
    torch.testing.assert_close(entropy(rows), torch.from_numpy(entr(rows.dense().numpy()).sum(1)), **EXACT)
    torch.testing.assert_close(cross_entropy(rows, target) - entropy(rows), kl(rows, target), **EXACT)


@pytest.mark.parametrize("structure", [*SQUARE, *RECTANGULAR], ids=str)
def test_kl_is_zero_only_when_equal(structure, normal):
    x = normal(s.N, s.D)
    y = x + 1e-3 * normal(s.N, s.D)
    rows, other = structure.rows(x), structure.rows(y)
    assert kl(rows, structure.rows(x)).abs().max() < 1e-14
    moved = (structure.dense(x) - structure.dense(y)).abs().amax(1) > 1e-6  # a row with one neighbor does not
    assert moved.any()
    assert (kl(rows, other)[moved] > 1e-12).all()


@pytest.mark.parametrize(
    "q", [s.FullDense(), s.KernelRows(*s.DOT, includes_self=True), s.ClusterRows("point")], ids=str
)
@pytest.mark.parametrize("p", [s.DenseRows(), s.ClusterRows("cluster"), s.KernelRows(*s.STUDENT)], ids=str)
def test_cross_entropy_is_linear_in_p(p, q, normal):
    """CE((1 - a) p + a u, q) = (1 - a) CE(p, q) + a CE(u, q), u uniform over p's candidates."""
    rows, target, alpha = p.rows(normal(s.N, s.D)), q.rows(normal(s.N, s.D)), 0.35
    uniform = Dense(torch.zeros(s.N, s.N, dtype=torch.float64), rows.candidates)
    parts = (1 - alpha) * cross_entropy(rows, target) + alpha * cross_entropy(uniform, target)
    expected = torch.where(rows.empty_anchors(), 0.0, parts)
    torch.testing.assert_close(cross_entropy(Mixture(rows, alpha), target), expected, **EXACT)


@pytest.mark.parametrize(("p", "q"), ROUTES, ids=lambda kind: kind.__name__)
def test_every_route_of_the_table_is_taken(p, q):
    """The pairs above hold each fast route against the reference."""
    pairs = [(a.rows(POINTS), b.rows(POINTS)) for a, b in FINITE]
    taken = {route_of(a, b) for a, b in pairs if (type(a), type(b)) == (p, q)}
    assert ROUTES[p, q] in taken
    assert taken <= {ROUTES[p, q], *DEBIASED_ROUTES.values()}


@pytest.mark.parametrize(("p", "q"), DEBIASED_ROUTES, ids=lambda kind: kind.__name__)
def test_routes_that_take_debiased_rows_are_taken(p, q):
    """For both sides debiased, either, and none, square and rectangular."""
    pairs = [(a.rows(POINTS), b.rows(POINTS)) for a, b in FINITE]
    pairs = [(a, b) for a, b in pairs if (type(base_of(a)), type(base_of(b))) == (p, q)]
    assert {route_of(a, b) for a, b in pairs} == {DEBIASED_ROUTES[p, q]}
    for m in (s.N, s.M):
        forms = {(type(a), type(b)) for a, b in pairs if a.m == m}
        assert forms == set(itertools.product((p, Mixture), (q, Mixture)))


class TestRefusals:
    def test_infinite_kl_names_anchor_and_column(self):
        p = Dense.from_weights(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.25, 0.75]]))
        q = Dense.from_weights(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
        with pytest.raises(SupportError, match=r"p\[1, 2\] = 0.75 but q\[1, 2\] = 0.*debias q"):
            kl(p, q)
        with block_budget(1), pytest.raises(SupportError, match=r"p\[1, 2\]"):
            kl(p, q)

    def test_infinite_kl_on_sparse_rows_names_the_column_itself(self, normal):
        """The second edge of row 2 is column 2, and a kernel without self has nothing there."""
        p = Sparse.from_neighbors(torch.tensor([[1, 2], [0, 2], [0, 2]]), candidates=Candidates.all(3))
        q = s.DOT[0](normal(3, 2))
        for divergence in (kl, reference_kl):
            with pytest.raises(SupportError, match=r"p\[2, 2\] = 0.5 but q\[2, 2\] = 0"):
                divergence(p, q)

    def test_an_empty_row_does_not_hide_another_that_is_infinite(self):
        """Rows 0 and 1 of q lack a cell; p is empty in row 0 only."""
        p = Mixture(Sparse(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0]), candidates=Candidates.all(3)), alpha=0.5)
        q = Dense(torch.tensor([[0.0, -math.inf, 0.0], [0.0, 0.0, -math.inf], [0.0, 0.0, 0.0]]))
        with pytest.raises(SupportError, match=r"p\[1, 2\]"):
            kl(p, q)

    @pytest.mark.parametrize(
        ("q", "message"),
        [
            (Dense.uniform(3, 4), "4 anchors and q has 3"),
            (Dense.uniform(4, 3), "same columns"),
            (Dense(torch.zeros(4, 4), Candidates.all(4, "texts")), "4 texts"),
            (Dense(torch.zeros(4, 4), Candidates.all(9).restrict(torch.tensor([0, 1, 2, 8]))), "a subset"),
        ],
        ids=["anchors", "size", "name", "ids"],
    )
    def test_other_columns(self, q, message):
        p = Dense(torch.zeros(4, 4), Candidates.all(9).restrict(torch.arange(4)))
        for divergence in (kl, cross_entropy, reference_kl):
            with pytest.raises(CandidatesError, match=message):
                divergence(p, q)

    def test_a_nan_is_never_taken_for_no_mass(self):
        """A diverged encoder shows in the value, on either side."""
        points, good = torch.full((4, 2), math.nan), torch.zeros(4, 2)
        pairs = Sparse.from_neighbors(torch.tensor([[1], [0], [3], [2]]), candidates=Candidates.all(4))
        for broken in (s.DOT[0](points), Dense(points @ points.T), s.Clusters()(points)):
            assert kl(pairs, broken).isnan().all()
            assert kl(broken, Dense.uniform(4)).isnan().all()
            assert kl(Mixture(broken, 0.5), Mixture(s.DOT[0](good, good), 0.5)).isnan().all()
