"""Clustering with a graph: along its edges in O(nnz c), over all pairs in tiles, of which symmetric q needs half."""

import math

import pytest
import torch
from torch.autograd import grad

from torchicon.core import (
    Candidates,
    Cluster,
    Mixture,
    Sparse,
    SupportError,
    block_budget,
    cross_entropy,
    explain,
    kl,
    reference_kl,
)
from torchicon.core.low_rank import edge_products
from torchicon.neighborhoods import Classes, Clusters, debias

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def graph(n, m, generator, *, first=None, others=False, empty=1):
    """Some edges from every anchor but ``empty``, none to the anchor itself."""
    anchor = torch.arange(n).repeat(4)[torch.randperm(4 * n, generator=generator)]
    column = torch.randint(m, (4 * n,), generator=generator)
    kept = (column != anchor + (first or 0)) & (anchor != empty)
    candidates = Candidates.others(m, first=first) if others else Candidates.all(m, first=first)
    return Sparse.from_edges(anchor[kept], column[kept], n=n, candidates=candidates)


def hard(logits):
    """Probabilities with zeros, and rows that share no cluster."""
    return (logits * 40).softmax(1) * (logits > 0.3)


class TestEdgeProducts:
    def test_value_and_gradient(self, normal, generator):
        """Against the same products gathered; rows without edges at both ends and in the middle."""
        left, right = normal(6, 4).requires_grad_(), normal(5, 4).requires_grad_()
        counts = torch.tensor([0, 2, 0, 5, 1, 0])
        columns = torch.cat([torch.randperm(5, generator=generator)[:k] for k in counts])
        anchor, indptr = torch.arange(6).repeat_interleave(counts), torch.tensor([0, 0, 2, 2, 7, 8, 8])
        weight = normal(8)
        found, expected = edge_products(left, right, indptr, columns), (left[anchor] * right[columns]).sum(1)
        torch.testing.assert_close(found, expected, **EXACT)
        for inputs in ((left, right), (left,), (right,)):
            ours = grad((found * weight).sum(), inputs, retain_graph=True)
            torch.testing.assert_close(ours, grad((expected * weight).sum(), inputs, retain_graph=True), **EXACT)

    def test_no_edges(self, normal):
        left = normal(2, 3).requires_grad_()
        none = torch.zeros(0, dtype=torch.long)
        (gradient,) = grad(edge_products(left, normal(4, 3), torch.zeros(3, dtype=torch.long), none).sum(), left)
        assert (gradient == 0).all()


class TestAllPairs:
    @pytest.mark.parametrize("alphas", [(0.4, 0.3), (0.4, 0.0), (0.0, 0.3), (0.0, 0.0)], ids=str)
    @pytest.mark.parametrize("weights", ["equal", "equal but one", "any"])
    @pytest.mark.parametrize("others", [False, True])
    @pytest.mark.parametrize("budget", [2**20, 300])
    def test_equals_the_generic_route(self, alphas, weights, others, budget, normal, generator):
        """Anchors of equal weight take one product in backward instead of two."""
        p = graph(11, 11, generator, others=others, empty=None if weights == "equal" else 1)
        weight = normal(11) if weights == "any" else torch.full((11,), 0.25, dtype=torch.float64)
        z = normal(11, 3).requires_grad_()

        def sides():
            q = Clusters()(z.softmax(1))
            return (Mixture(p, alphas[0]) if alphas[0] else p, Mixture(q, alphas[1]) if alphas[1] else q)

        with block_budget(budget):
            assert explain(*sides()).route == "graph_cluster"
            found = kl(*sides())
            ours = grad((found * weight).sum(), z)
        expected = reference_kl(*sides())
        torch.testing.assert_close(found, expected, **EXACT)
        torch.testing.assert_close(ours, grad((expected * weight).sum(), z), **EXACT)

    @pytest.mark.parametrize("budget", [2**20, 300])
    def test_anchors_among_the_columns(self, budget, normal, generator):
        """Anchor i is column 3 + i, and not its own neighbor; only one side learns, then the other."""
        p = Mixture(graph(5, 11, generator, first=3, others=True), 0.4)
        phi, keys, weight = normal(5, 3).softmax(1), normal(11, 3).softmax(1), normal(5)
        for learned in (phi, keys):
            learned.requires_grad_()

            def divergence(compute):
                return compute(p, Mixture(Clusters("point")(phi, keys), 0.3))

            with block_budget(budget):
                found = divergence(kl)
                ours = grad((found * weight).sum(), learned)
            expected = divergence(reference_kl)
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(ours, grad((expected * weight).sum(), learned), **EXACT)
            learned.requires_grad_(False)

    def test_clusters_that_share_nothing(self, normal, generator):
        """Cells, rows and columns of q without mass: debiased they are finite, and so are their gradients."""
        p = graph(11, 11, generator)
        z = normal(11, 4).requires_grad_()
        mixed = [Mixture(Clusters()(hard(z) + torch.eye(11, 4)), 0.3) for _ in range(2)]
        found, expected = kl(Mixture(p, 0.4), mixed[0]), reference_kl(Mixture(p, 0.4), mixed[1])
        torch.testing.assert_close(found, expected, **EXACT)
        ours = grad(found.sum(), z)
        assert ours[0].isfinite().all()
        torch.testing.assert_close(ours, grad(expected.sum(), z), **EXACT)

    def test_an_empty_anchor_of_p_hides_an_infinite_mean(self):
        """Anchor 1 has no edge, so it does not matter that it shares no cluster with the others."""
        p = Mixture(Sparse(torch.tensor([0, 1, 1, 2]), torch.tensor([2, 0]), candidates=Candidates.others(3)), 0.5)
        keys = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        left = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], requires_grad=True)
        value = kl(p, Cluster(left, keys / 3))
        assert value[1] == 0
        (gradient,) = grad(value.sum(), left)
        assert gradient.isfinite().all()

    def test_infinite_values_are_refused_by_name(self):
        """On an edge, and through the uniform part of p; an empty row of q is not saved by debiasing."""
        p = Sparse.from_neighbors(torch.tensor([[1], [0], [1]]), candidates=Candidates.all(3))
        apart = Cluster(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.5, 0], [0.5, 0], [0, 1]]))
        for rows, cell in ((p, r"p\[2, 1\] = 1 "), (Mixture(p, 0.3), r"p\[2, 1\] = 0.8")):
            with pytest.raises(SupportError, match=cell):
                cross_entropy(rows, apart)
        none = Cluster(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), torch.full((3, 2), 1 / 3))
        with pytest.raises(SupportError, match=r"p\[1, 0\]"):
            kl(p, Mixture(none, 0.5))
        within = Sparse.from_neighbors(torch.tensor([[1], [0], [2]]), candidates=Candidates.all(3))
        with pytest.raises(SupportError, match=r"p\[0, 2\] = 0.1 "):
            kl(Mixture(within, 0.3), apart)

    def test_second_derivatives_are_refused(self, normal, generator):
        p = graph(6, 6, generator)
        for rows in (p, Mixture(p, 0.4)):
            z = normal(6, 3).requires_grad_()
            with pytest.raises(NotImplementedError, match="no second derivative"):
                grad(kl(rows, Mixture(Clusters()(z.softmax(1)), 0.3)).sum(), z, create_graph=True)

    def test_float32_keeps_its_digits(self, generator):
        """A batch of confident assignments: errors of single precision, in the value and the gradient."""
        p = Mixture(graph(40, 40, generator), 0.6)
        z = 12 * torch.randn(40, 5, generator=generator)
        x, y = z.clone().requires_grad_(), z.double().requires_grad_()
        found, exact = (kl(p, Mixture(Clusters()(v.softmax(1)), 0.6)) for v in (x, y))
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
        a, b = grad(found.sum(), x)[0].double(), grad(exact.sum(), y)[0]
        assert (a - b).norm() < 1e-5 * b.norm()


class TestPlans:
    def test_symmetric_rows_visit_half_of_the_tiles(self, generator):
        """By cluster over one's own points; not by point, nor over a teacher's."""
        phi, teacher = torch.rand(2, 64, 3, generator=generator)
        p = Mixture(graph(64, 64, generator), 0.5)
        with block_budget(4 * 4 * 16**2):  # tiles of 16 x 16
            blocks = [explain(p, q).blocks for q in (Clusters()(phi), Clusters("point")(phi), Clusters()(phi, teacher))]
        assert blocks == [10, 16, 16]

    def test_memory_follows_the_edges(self, generator):
        """A hub with every point as its neighbor does not make other rows wide."""
        n = 1000
        hub = torch.zeros(n - 1, dtype=torch.long)
        ring = torch.arange(n)
        p = Sparse.from_edges(torch.cat([hub, ring[1:]]), torch.cat([ring[1:], hub]), n=n, candidates=Candidates.all(n))
        phi = torch.rand(n, 50, generator=generator)
        said = explain(p, Clusters()(phi / phi.sum(1, keepdim=True)))
        assert said.peak_bytes <= 64 * len(p.columns)
        assert said.peak_bytes * 30 < said.dense_bytes

    def test_tiles_that_fit_the_budget_are_kept(self, generator):
        phi = torch.rand(300, 3, generator=generator)
        p, q = Mixture(graph(300, 300, generator), 0.5), Clusters("point")(phi)
        assert explain(p, q).peak_bytes >= 4 * 300**2
        with block_budget(4 * 300**2 - 1):
            assert explain(p, q).peak_bytes < 4 * 300**2

    def test_an_empty_row_stays_empty(self):
        """-inf, not the uniform share, where an anchor has no open cluster."""
        q = Cluster(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.5, 0.0], [0.5, 0.0]]))
        mean = q.mean_log_mixed(Candidates.all(2), 0.5, 0.25)
        torch.testing.assert_close(mean, torch.tensor([math.log(0.5), -math.inf]))


def test_in_inference_mode_it_is_the_same():
    generator = torch.Generator().manual_seed(0)
    phi = torch.rand(12, 3, generator=generator, dtype=torch.float64).softmax(1)
    groups = torch.arange(12) % 4
    expected = kl(Classes()(groups), debias(Clusters()(phi), 0.1))
    with torch.inference_mode():
        found = kl(Classes()(groups.clone()), debias(Clusters()(phi.clone()), 0.1))
    torch.testing.assert_close(found.clone(), expected, rtol=1e-14, atol=0)
