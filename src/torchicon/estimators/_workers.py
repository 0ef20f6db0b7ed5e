"""Blocks of rows in threads of their own: one meeting an iteration, where parallel operations meet at each of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import torch

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor | None]:
    """As many threads as torch may use, in each of which an operation runs on one; None if torch may use one."""
    count = torch.get_num_threads()
    if count == 1:
        yield None
        return
    ready = Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # the first question gives a thread the number of all, over what was set before
        torch.set_num_threads(1)  # of this thread, and of threads still to come
        ready.wait()

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(begin) for _ in range(count)]:
            done.result()
        torch.set_num_threads(count)  # so threads to come have again what this one has
        yield pool


def each(pool: ThreadPoolExecutor | None, function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """The function of each item, in order."""
    return list(map(function, items) if pool is None else pool.map(function, items))
