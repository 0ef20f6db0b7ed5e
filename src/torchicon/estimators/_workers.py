"""Blocks of rows in threads of their own: one meeting an iteration, where parallel operations meet at each of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier, Thread
from typing import TypeVar

import torch

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Workers:
    """Threads, each of which runs torch's operations alone; none beside the caller if ``count`` is 1."""

    count: int = 1
    pool: ThreadPoolExecutor | None = None

    def each(self, function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
        """The function of each item, in order."""
        return list(map(function, items) if self.pool is None else self.pool.map(function, items))


@contextmanager
def workers() -> Iterator[Workers]:
    """As many workers as torch may use threads.

    Meanwhile the caller's operations have one thread too: OpenMP's threads spin for a while after each, where workers
    could work. The setting belongs to a thread, and the last one made is that of threads to come: theirs stays as it
    was.
    """
    count = torch.get_num_threads()
    if count == 1:
        yield Workers()
        return
    ready = Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # the first question sets a thread's number, over what was set before
        torch.set_num_threads(1)
        ready.wait()

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(begin) for _ in range(count)]:
            done.result()
        try:
            torch.set_num_threads(1)
            last = Thread(target=torch.set_num_threads, args=(count,))
            last.start()
            last.join()
            yield Workers(count, pool)
        finally:
            torch.set_num_threads(count)
