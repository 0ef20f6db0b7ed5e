"""Witness functions score all pairs as their formulas say, and the linear one has nothing to contrast."""

from __future__ import annotations

import pytest
import torch

from torchicon.core import Dense, kl
from torchicon.mappers import BilinearWitness, ConcatenationWitness, DotWitness
from torchicon.neighborhoods import Pairs

DOUBLE = torch.float64


@pytest.fixture
def sides(normal):
    return normal(4, 3), normal(6, 3)


def test_dot_and_bilinear_are_their_formulas(sides):
    g, h = sides
    bilinear = BilinearWitness(3, 3, dtype=DOUBLE)
    dots, forms = DotWitness()(g, h), bilinear(g, h)
    for i in range(4):
        for j in range(6):
            torch.testing.assert_close(dots[i, j], (g[i] * h[j]).sum())
            torch.testing.assert_close(forms[i, j], g[i] @ (bilinear.weight @ h[j]))


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_concatenation_is_the_perceptron_of_concatenated_pairs(sides, hidden):
    g, h = sides
    witness = ConcatenationWitness(3, 3, hidden=hidden, dtype=DOUBLE)
    pairs = torch.cat([g[:, None].expand(4, 6, 3), h[None].expand(4, 6, 3)], -1)
    torch.testing.assert_close(witness(g, h), witness.layers(pairs)[..., 0])


def test_the_linear_one_gives_every_anchor_the_same_q(sides):
    """I9: the anchor's part cancels in the softmax, so its gradient is zero; a hidden layer mends it."""
    g, h = sides
    g.requires_grad_()
    own = Pairs()(4)
    for hidden, degenerate in (((), True), ((8,), False)):
        q = Dense(ConcatenationWitness(3, 3, hidden=hidden, dtype=DOUBLE)(g, h[:4]))
        (gradient,) = torch.autograd.grad(kl(own, q).sum(), g)
        assert torch.allclose(q.dense(), q.dense()[:1].expand(4, 4), atol=1e-12) is degenerate
        assert bool(gradient.abs().max() < 1e-12) is degenerate


@pytest.mark.parametrize("make", [BilinearWitness, ConcatenationWitness])
def test_a_start_depends_on_the_seed_alone_and_learns(make, sides):
    before = torch.get_rng_state()
    first, second, other = (make(3, 3, seed=seed, dtype=DOUBLE) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first(*sides), second(*sides))
    assert not torch.equal(first(*sides), other(*sides))
    first(*sides).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in first.parameters())


@pytest.mark.parametrize("witness", [DotWitness(), BilinearWitness(2, 3), ConcatenationWitness(2, 3)])
def test_wrong_widths_are_refused(witness):
    with pytest.raises(ValueError, match="This witness scores g"):
        witness(torch.ones(4, 3), torch.ones(4, 2))
