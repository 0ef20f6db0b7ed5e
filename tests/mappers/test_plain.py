"""Mappers start from their seed alone and keep what they promise."""

from __future__ import annotations

import pytest
import torch

from torchicon.mappers import Lookup, linear, mlp, orthonormal


@pytest.mark.parametrize("make", [linear, mlp, orthonormal])
def test_a_start_depends_on_the_seed_alone(make):
    before = torch.get_rng_state()
    first, second, other = (list(make(6, 3, seed=seed).state_dict().values()) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_a_lookup_table_copies_its_start_and_learns():
    start = torch.zeros(4, 2)
    table = Lookup(start)
    table(torch.tensor([1, 3])).sum().backward()
    assert table.table.grad[:, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    with torch.no_grad():
        table.table += 1
    assert start.sum() == 0
    assert table().shape == (4, 2)


def test_orthonormal_rows_stay_orthonormal_while_learning():
    layer = orthonormal(5, 3, dtype=torch.float64)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    x = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        optimizer.zero_grad()
        layer(x).square().sum().neg().backward()
        optimizer.step()
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(3, dtype=torch.float64))


def test_too_many_directions_are_refused():
    with pytest.raises(ValueError, match="cannot be orthonormal"):
        orthonormal(2, 3)
