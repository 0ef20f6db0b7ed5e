"""The identity of the columns."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchicon.core import Candidates, CandidatesError, Dense, Kernel, Sparse, kl
from torchicon.neighborhoods import Dot


def test_how_many_an_anchor_has():
    assert (Candidates.all(4).per_anchor, Candidates.others(4).per_anchor) == (4, 3)


@given(st.integers(-3, 5), st.booleans())
def test_an_anchor_always_has_a_candidate(size, excludes_self):
    if size - excludes_self >= 1:
        assert Candidates(size, excludes_self=excludes_self).per_anchor == size - excludes_self
    else:
        with pytest.raises(CandidatesError, match="at least"):
            Candidates(size, excludes_self=excludes_self)


def test_identity():
    points = Candidates.all(4)
    assert points.same_columns(Candidates.all(4))
    assert points.same_columns(Candidates.others(4))  # says which cells exist, not what the columns are
    assert not points.same_columns(Candidates.all(4, "texts"))
    assert not points.same_columns(Candidates.all(5))


def test_a_batch_remembers_its_members():
    index = torch.tensor([5, 0, 2])
    batch = Candidates.others(9, "images").restrict(index)
    assert (batch.size, batch.name, batch.excludes_self) == (3, "images", True)
    assert batch.same_columns(Candidates.others(9, "images").restrict(index.clone()))
    assert not batch.same_columns(Candidates.others(9, "images").restrict(torch.tensor([5, 0, 1])))
    twice = batch.restrict(torch.tensor([2, 0]))
    assert torch.equal(twice.ids, torch.tensor([2, 5]))


def test_ids_have_one_entry_a_column():
    with pytest.raises(CandidatesError, match=r"shape \(3,\), got \(2,\)"):
        Candidates(3, ids=torch.tensor([1, 2]))


def test_words():
    batch = Candidates.others(9, "images").restrict(torch.tensor([1, 2]))
    assert str(batch) == "Candidates(2 images, self excluded, a subset)"
    assert str(Candidates.all(3)) == "Candidates(3 points)"


class TestAnchorsThatAreARunOfTheColumns:
    def test_their_own_columns(self):
        batch = Candidates.others(9, "images", first=4)
        assert batch.own(slice(0, 3)) == slice(4, 7)
        assert Candidates.others(9).own(slice(2, 3)) == slice(2, 3)
        assert (batch.per_anchor, batch.excludes_self) == (8, True)
        assert not Candidates.all(9, first=4).excludes_self
        assert str(batch) == "Candidates(9 images, self excluded, anchor 0 is column 4)"

    def test_a_place_is_part_of_the_identity(self):
        """Where both know it: the anchors of p and q must be the same columns."""
        assert Candidates.others(9, first=4).same_columns(Candidates.all(9, first=4))
        assert Candidates.others(9, first=4).same_columns(Candidates.all(9))
        assert not Candidates.others(9, first=4).same_columns(Candidates.others(9, first=3))
        p, q = (Dense(torch.zeros(2, 9), Candidates.others(9, first=first)) for first in (0, 1))
        with pytest.raises(CandidatesError, match=r"anchor 0 is column 0\), q over .*anchor 0 is column 1"):
            kl(p, q)

    def test_a_batch_of_columns_has_no_place(self):
        assert Candidates.all(9, first=4).restrict(torch.tensor([4, 5])).first is None

    @pytest.mark.parametrize("first", [-1, 10])
    def test_first_is_a_column(self, first):
        with pytest.raises(CandidatesError, match=f"one of 9 columns, .* got {first}"):
            Candidates.others(9, first=first)

    @pytest.mark.parametrize("make", [Candidates.others, Candidates.all])
    def test_anchors_beyond_the_columns(self, make):
        candidates, message = make(4, first=2), "must be columns themselves, got 3 anchors and .* column 2"
        for rows in (
            lambda: Dense(torch.zeros(3, 4), candidates),
            lambda: Kernel(Dot(), torch.zeros(3, 2), torch.zeros(4, 2), candidates=candidates),
            lambda: Sparse(torch.zeros(4), torch.zeros(0), candidates=candidates),
        ):
            with pytest.raises(CandidatesError, match=message):
                rows()

    def test_an_edge_to_itself(self):
        with pytest.raises(ValueError, match="Row 1 has mass on itself"):
            Sparse.from_neighbors(torch.tensor([[1], [3]]), candidates=Candidates.others(4, first=2))
        Sparse.from_neighbors(torch.tensor([[0], [1]]), candidates=Candidates.others(4, first=2))


def test_self_needs_anchors_that_are_the_candidates():
    others, message = Candidates.others(4), "got 3 anchors and Candidates"
    with pytest.raises(CandidatesError, match=message):
        Dense(torch.zeros(3, 4), others)
    with pytest.raises(CandidatesError, match=message):
        Kernel(Dot(), torch.zeros(3, 2), torch.zeros(4, 2), candidates=others)
    with pytest.raises(CandidatesError, match=message):
        Sparse(torch.tensor([0, 1, 1, 1]), torch.tensor([1]), candidates=others)


def test_columns_and_candidates_agree_in_number():
    with pytest.raises(ValueError, match="4 columns but candidates has 5"):
        Dense(torch.zeros(3, 4), Candidates.all(5))
    with pytest.raises(ValueError, match="4 keys but the candidates"):
        Kernel(Dot(), torch.zeros(3, 2), torch.zeros(4, 2), candidates=Candidates.all(5))


@pytest.mark.parametrize("n", [2, 3])
def test_the_fewest_candidates(n, normal):
    """Two points have one other each: whatever they are, it is certain."""
    q = Dot()(normal(n, 2))
    p = Sparse.from_neighbors((torch.arange(n)[:, None] + 1) % n, candidates=Candidates.others(n))
    value = kl(p, q)
    assert (value == 0).all() == (n == 2)


def test_no_anchors_have_no_divergence():
    """An empty batch is a batch."""
    candidates, none = Candidates.all(3), torch.zeros(0, 3)
    for p in (Dense(none), Sparse(torch.tensor([0]), torch.zeros(0, dtype=torch.long), candidates=candidates)):
        for q in (Dense(none), Dot()(torch.zeros(0, 2), torch.zeros(3, 2))):
            assert kl(p, q).shape == (0,)
