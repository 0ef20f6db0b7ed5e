"""Threads change neither the result nor torch's settings."""

from __future__ import annotations

import threading

import pytest
import torch

from torchicon.core import block_budget
from torchicon.estimators._lloyd import kmeans
from torchicon.estimators._workers import workers


@pytest.fixture(params=[1, 3])
def count(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def allowed_elsewhere() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_each_keeps_the_order_and_uses_one_thread_a_block(count):
    with workers() as crew:
        assert crew.each(lambda i: (i, torch.get_num_threads()), range(20)) == [(i, 1) for i in range(20)]
        assert allowed_elsewhere() == count
    assert torch.get_num_threads() == allowed_elsewhere() == count


def test_an_error_in_a_block_is_raised(count):
    with workers() as crew, pytest.raises(ZeroDivisionError):
        crew.each(lambda i: 1 / i, [1, 0])
    assert torch.get_num_threads() == count


def test_the_number_of_threads_does_not_matter():
    x = torch.randn(3000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with block_budget(20_000):  # many tiles
                found.append(kmeans(x, 12, torch.Generator(), init=x[:12], tolerance=0.0))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].labels, found[1].labels)
    torch.testing.assert_close(found[0].centers, found[1].centers, rtol=1e-12, atol=1e-12)
