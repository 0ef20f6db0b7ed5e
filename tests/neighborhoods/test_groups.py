"""Given neighborhoods: positives, classes, labels, pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from torchicon.core import Candidates, Sparse, kl
from torchicon.neighborhoods import Classes, Cosine, Dot, Labels, Pairs, Positives

EXACT = {"rtol": 1e-11, "atol": 1e-12}
groups = st.lists(st.integers(-2, 4), min_size=2, max_size=12)


@given(groups)
@settings(max_examples=60, deadline=None)
def test_positives_and_classes(values):
    """Uniform over equal values, without or with the anchor itself; alone without it means an empty row."""
    labels = np.array(values)
    same = (labels[:, None] == labels).astype(float)
    torch.testing.assert_close(
        Classes()(torch.tensor(values)).dense().numpy(), same / same.sum(1, keepdims=True), **EXACT
    )
    np.fill_diagonal(same, 0.0)
    expected = same / np.maximum(same.sum(1, keepdims=True), 1)
    positives = Positives()(torch.tensor(values))
    torch.testing.assert_close(positives.dense().numpy(), expected, **EXACT)
    assert torch.equal(positives.empty_anchors(), torch.from_numpy(expected.sum(1) == 0))


@given(groups, groups, st.data())
@settings(max_examples=60, deadline=None)
def test_groups_of_other_columns(values, others, data):
    """Over a bank nobody is left out; where the anchors are a run of the columns, each leaves itself out."""
    anchors, bank = torch.tensor(values), torch.tensor(others)
    same = (np.array(values)[:, None] == np.array(others)).astype(float)
    expected = same / np.maximum(same.sum(1, keepdims=True), 1)
    for recipe in (Positives(), Classes()):
        torch.testing.assert_close(recipe(anchors, bank).dense().numpy(), expected, **EXACT)

    first = data.draw(st.integers(0, len(values)), "first")
    mine = slice(first, data.draw(st.integers(first, len(values)), "last"))
    for candidates in (Candidates.others(len(values), first=first), Candidates.all(len(values), first=first)):
        found = Positives()(anchors[mine], anchors, candidates=candidates)
        torch.testing.assert_close(found.dense(), Positives()(anchors).dense()[mine], **EXACT)
    found = Classes()(anchors[mine], anchors, candidates=Candidates.all(len(values), first=first))
    torch.testing.assert_close(found.dense(), Classes()(anchors).dense()[mine], **EXACT)


def test_groups_of_all_columns():
    """Those of the anchors alone say nothing of the other columns."""
    for recipe in (Positives(), Classes()):
        with pytest.raises(ValueError, match=r"5 points.*groups were given for 2 columns: give those of all as keys"):
            recipe(torch.tensor([0, 0]), candidates=Candidates.all(5))


def test_pairs_find_their_own_column():
    found = Pairs()(2, candidates=Candidates.all(5, first=3)).dense()
    assert torch.equal(found, torch.eye(5, dtype=torch.float64)[3:])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_labels(values):
    torch.testing.assert_close(Labels(5)(torch.tensor(values)).dense().numpy(), np.eye(5)[values], **EXACT)


def test_labels_make_cross_entropy(normal):
    """KL of a one-hot p is `F.cross_entropy` (theory 2.3)."""
    x, classes, labels = normal(6, 3), normal(4, 3), torch.tensor([0, 1, 3, 2, 0, 1])
    found = kl(Labels(4)(labels), Dot()(x, classes))
    torch.testing.assert_close(found, F.cross_entropy(x @ classes.T, labels, reduction="none"), **EXACT)


def test_pairs_across_modalities(normal):
    """CLIP's image direction (theory 2.2): own caption among all captions."""
    images, texts = normal(5, 3), normal(5, 3)
    captions = Candidates.all(5, "captions")
    found = kl(Pairs()(5, candidates=captions), Cosine(0.07)(images, texts, candidates=captions))
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / 0.07
    torch.testing.assert_close(found, F.cross_entropy(logits, torch.arange(5), reduction="none"), **EXACT)


@pytest.mark.parametrize("recipe", [Positives(), Classes(), Labels(3)])
@pytest.mark.parametrize(
    "labels", [torch.tensor([0.5, 1.0]), torch.tensor([[0], [1]]), torch.tensor(1)], ids=["floats", "column", "scalar"]
)
def test_labels_are_a_list_of_integers(recipe, labels):
    with pytest.raises(ValueError, match=r"must be \(n,\) integers"):
        recipe(labels)


@pytest.mark.parametrize("label", [-1, -100, 3])
def test_labels_outside_the_classes(label):
    with pytest.raises(ValueError, match=r"must lie in \[0, 3\)"):
        Labels(3)(torch.tensor([0, label]))


class TestSparseInput:
    """What a user can get wrong when writing down edges."""

    @given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 4), st.integers(-1, 3)), max_size=10))
    @settings(max_examples=100, deadline=None)
    def test_edges_in_any_order(self, edges):
        """Weights of repeated edges add up; whatever names no cell is refused instead of landing in another row."""
        anchor, column, weight = (torch.tensor([e[i] for e in edges], dtype=torch.long) for i in range(3))
        valid = all(0 <= i < 3 and 0 <= j < 4 and w >= 0 for i, j, w in edges)
        if not valid:
            with pytest.raises(ValueError, match=r"anchors in \[0, 3\), columns in \[0, 4\)"):
                Sparse.from_edges(anchor, column, weight, n=3, candidates=Candidates.all(4))
            return
        expected = np.zeros((3, 4))
        for i, j, w in edges:
            expected[i, j] += w
        expected /= np.where(expected.sum(1, keepdims=True) > 0, expected.sum(1, keepdims=True), 1)
        found = Sparse.from_edges(anchor, column, weight, n=3, candidates=Candidates.all(4)).dense()
        torch.testing.assert_close(found.double().numpy(), expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("indptr", "columns", "message"),
        [
            ([0, 2, 3], [1, 1, 0], "Row 0 lists column 1 twice"),
            ([0, 1, 2], [1, 1], "Row 1 has mass on itself"),
            ([0, 1, 2], [1, 2], r"must lie in \[0, 2\), got 1 to 2"),
            ([0, 1, 2], [-1, 0], r"must lie in \[0, 2\), got -1 to 0"),
            ([0, 1, 3], [1, 0], "indptr runs from 0 to 3, but there are 2 columns"),
            ([1, 2, 3], [1, 0, 1], "indptr runs from 1 to 3, but there are 3 columns"),
        ],
    )
    def test_refusals(self, indptr, columns, message):
        with pytest.raises(ValueError, match=message):
            Sparse(torch.tensor(indptr), torch.tensor(columns), candidates=Candidates.others(2))


class TestRestrict:
    def test_a_batch_of_a_graph(self, normal):
        """p restricted to the batch and renormalized (theory 1), with its gradient."""
        weight = normal(7, 3).requires_grad_()
        columns = torch.stack([(torch.arange(7) + step) % 7 for step in (1, 2, 4)], 1)
        p = Sparse.from_neighbors(columns, weight, candidates=Candidates.others(7))
        index = torch.tensor([5, 0, 3, 1])
        batch = p.restrict(index)
        inside = p.dense()[index][:, index]
        expected = inside / inside.sum(1, keepdim=True).clamp_min(1e-300)
        torch.testing.assert_close(batch.dense(), expected, **EXACT)
        cotangent = normal(4, 4)
        gradients = [torch.autograd.grad((v * cotangent).sum(), weight, retain_graph=True)[0] for v in
                     (batch.dense(), expected)]  # fmt: skip
        torch.testing.assert_close(*gradients, **EXACT)

    @pytest.mark.parametrize("index", [[0, 1, 1], [2, 2]])
    def test_a_point_listed_twice(self, index):
        p = Pairs()(3)
        with pytest.raises(ValueError, match="repeats"):
            p.restrict(torch.tensor(index))

    def test_a_graph_that_is_not_square(self):
        with pytest.raises(ValueError, match="2 anchors and 3 columns"):
            Labels(3)(torch.tensor([0, 1])).restrict(torch.tensor([0]))
