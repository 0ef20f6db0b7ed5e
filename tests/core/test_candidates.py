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
