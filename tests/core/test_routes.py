"""Routes: one closed table of exact types, a generic route for all others, and what `explain` says."""

import re
from typing import final

import pytest
import torch

from torchicon.core import (
    Candidates,
    Dense,
    Mixture,
    Plan,
    RouteError,
    Rows,
    Sparse,
    Support,
    block_budget,
    explain,
    kl,
    reference_kl,
    register_route,
)
from torchicon.core.graph_cluster import base_of
from torchicon.core.routes import DEBIASED_ROUTES, GENERIC, ROUTES, Route, route_of
from torchicon.neighborhoods import Clusters, Cosine, Positives, StudentT


@final
class Ring(Rows):
    """A third party's structure: anchor i picks i + 1. Only the three hooks and the sizes."""

    def __init__(self, n):
        self.candidates = Candidates.others(n)

    @property
    def n(self):
        return self.candidates.size

    @property
    def dtype(self):
        return torch.float64

    def support(self, rows):
        column = torch.arange(rows.start + 1, rows.stop + 1)[:, None] % self.n
        return Support(column, torch.zeros(column.shape, dtype=torch.float64))

    def log_at(self, columns, rows):
        if columns is None:
            columns = torch.arange(self.m).repeat(rows.stop - rows.start, 1)
        anchor = torch.arange(rows.start, rows.stop)[:, None]
        return torch.where(columns == (anchor + 1) % self.n, 0.0, -torch.inf).double()

    def work_per_cell(self, *, gathered):
        return 2


class HeavySparse(Sparse):
    """Against the rules, since structures are final: it must not get its parent's formula by stealth."""

    def log_at(self, columns, rows):
        raise AssertionError("not used as q here")


@pytest.fixture
def table(monkeypatch):
    """The table, given back as it was."""
    for pair in list(ROUTES):
        monkeypatch.setitem(ROUTES, pair, ROUTES[pair])
    before = dict(ROUTES)
    yield ROUTES
    ROUTES.clear()
    ROUTES.update(before)


class TestThirdParty:
    @pytest.mark.parametrize("size", [1, 2**20])
    def test_the_generic_route_serves_either_side(self, size, normal):
        same = Sparse.from_neighbors((torch.arange(6)[:, None] + 1) % 6, candidates=Candidates.others(6))
        q = Cosine()(normal(6, 3))
        with block_budget(size):
            assert route_of(Ring(6), q) is GENERIC
            torch.testing.assert_close(kl(Ring(6), q), kl(same, q))
            torch.testing.assert_close(kl(Mixture(Ring(6), 0.2), q), kl(Mixture(same, 0.2), q))
            torch.testing.assert_close(kl(same, Mixture(Ring(6), 0.2)), kl(same, Mixture(same, 0.2)))
            assert (kl(same, Ring(6)) == 0).all()

    def test_a_subclass_takes_the_generic_route(self, normal):
        p = HeavySparse(torch.arange(7), (torch.arange(6) + 1) % 6, candidates=Candidates.others(6))
        q = Cosine()(normal(6, 3))
        assert route_of(p, q) is GENERIC
        torch.testing.assert_close(kl(p, q), reference_kl(Ring(6), q))


class TestRegistering:
    ROUTE = Route("ring_kernel", lambda p, q, with_entropy: torch.full((p.n,), 7.0), lambda p, q: Plan(1, 64))

    @pytest.mark.usefixtures("table")
    def test_a_new_pair_takes_its_route(self, normal):
        q = Cosine()(normal(6, 3))
        register_route(Ring, type(q), self.ROUTE)
        assert (kl(Ring(6), q) == 7).all()
        assert (reference_kl(Ring(6), q) != 7).all()
        assert str(explain(Ring(6), q)) == "ring||kernel -> ring_kernel: 1 block, 64 B (dense: 288 B)"

    @pytest.mark.usefixtures("table")
    def test_a_pair_that_has_a_route_is_refused(self):
        register_route(Ring, Ring, self.ROUTE)
        with pytest.raises(RouteError, match=r"\(Ring, Ring\) already takes the route ring_kernel"):
            register_route(Ring, Ring, self.ROUTE)
        for pair, route in [*ROUTES.items(), *DEBIASED_ROUTES.items()]:
            with pytest.raises(RouteError, match=re.escape(route.name)):
                register_route(*pair, self.ROUTE)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize("kind", [int, Dense.uniform(2), "Dense"], ids=["type", "instance", "name"])
    def test_only_rows_have_routes(self, kind):
        with pytest.raises(RouteError, match="two Rows types"):
            register_route(Dense, kind, self.ROUTE)


class TestExplain:
    def test_the_table_says_what_runs(self, generator):
        z = torch.randn(2000, 8, generator=generator)
        p, q = Positives()(torch.arange(2000) // 2), Cosine()(z)
        said = {str(explain(a, b)).split(":")[0] for a in (p, Mixture(p, 0.5), q) for b in (q, Mixture(q, 0.5))}
        assert said == {
            "sparse||kernel -> sparse_kernel",
            "sparse||mixture -> generic",
            "mixture||kernel -> mixture_any",
            "mixture||mixture -> mixture_any",
            "kernel||kernel -> generic",
            "kernel||mixture -> generic",
        }

    def test_the_budget_bounds_what_is_held(self, generator):
        """Every route names more than one block and at most the budget, or one row."""
        z = torch.randn(1000, 2, generator=generator)
        positives, kernel = Positives()(torch.arange(1000) // 10), StudentT()(z)
        clusters = Clusters()(z.softmax(1))
        for p in (positives, Mixture(positives, 0.5), kernel, clusters):
            for q in (kernel, clusters, Mixture(kernel, 0.5), Mixture(clusters, 0.5)):
                if q is kernel and p is clusters:
                    continue  # self
                if base_of(p) is positives and base_of(q) is clusters:
                    continue  # memory follows the edges
                with block_budget(2**18):
                    plan = explain(p, q)
                assert plan.blocks > 1
                assert plan.peak_bytes <= 2**18
                assert plan.dense_bytes == 4 * 10**6
                assert plan.blocks * plan.peak_bytes >= min(plan.dense_bytes, 2**18)

    def test_explaining_computes_nothing(self):
        """A hundred thousand anchors: only sizes are looked at."""
        z = torch.zeros(10**5, 2)
        assert explain(Clusters()(z), Clusters("point")(z)).dense_bytes == 4 * 10**10
