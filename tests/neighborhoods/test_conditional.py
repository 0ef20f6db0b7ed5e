"""q within a part of its candidates, against a dense quotient."""

from __future__ import annotations

import pytest
import torch

from torchicon.core import Candidates, CandidatesError, Dense, Sparse
from torchicon.neighborhoods import Clusters, Cosine, Gaussian, condition, debias

N = 7
ALL = Candidates.all(N)


def edges(seed):
    """A random set for each anchor, none for anchor 2; every other edge has no weight."""
    chance = torch.rand(N, N, generator=torch.Generator().manual_seed(seed))
    anchor, column = (chance < 0.4).nonzero().unbind(1)
    kept = anchor != 2
    anchor, column = anchor[kept], column[kept]
    return anchor, column, torch.arange(len(anchor)) % 2.0


@pytest.mark.parametrize(
    "recipe",
    [
        lambda z: Gaussian()(z, candidates=ALL),
        lambda z: Dense(z @ z.T, ALL),
        lambda z: Clusters()(z.softmax(1)),
        lambda z: debias(Cosine(0.5)(z, candidates=ALL), 0.3),
    ],
    ids=["kernel", "dense", "cluster", "mixture"],
)
def test_it_is_q_on_the_set_over_its_mass_whatever_the_sets_weights(recipe):
    z = torch.randn(N, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    anchor, column, weight = edges(1)
    member = torch.zeros(N, N, dtype=torch.float64).index_put((anchor, column), torch.ones((), dtype=torch.float64))
    within = recipe(z).dense() * member
    expected = within / torch.where(within.sum(1) == 0, 1.0, within.sum(1))[:, None]
    found = condition(recipe(z), Sparse.from_edges(anchor, column, weight, n=N, candidates=ALL)).dense()
    torch.testing.assert_close(found, expected)
    pull = torch.randn(N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    slopes = (torch.autograd.grad((rows * pull).sum(), z)[0] for rows in (found, expected))
    torch.testing.assert_close(*slopes)


def test_what_cannot_be_a_part_of_q_is_refused():
    z = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
    anchor, column, _ = edges(1)
    with pytest.raises(ValueError, match="mass on itself"):
        condition(Cosine()(z), Sparse.from_edges(anchor, column, n=N, candidates=ALL))
    with pytest.raises(CandidatesError):
        condition(Cosine()(z, z[:4]), Sparse.from_edges(anchor, column, n=N, candidates=ALL))
