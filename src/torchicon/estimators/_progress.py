"""Progress on the terminal, for whatever takes over a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

_DELAY = 1.0  # seconds before anything is shown: short work stays silent


class Bar:
    """A bar on standard error once the work has taken a second; nothing in a pipe, or if not ``show``."""

    def __init__(self, total: int, what: str, *, show: bool) -> None:
        self.total, self.what = total, what
        self.show = show and sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Begin."""
        if self.show:
            from rich.console import Console
            from rich.progress import Progress

            self._start = time.monotonic()
            self._progress = Progress(console=Console(stderr=True), transient=True).__enter__()
            self._task = self._progress.add_task(self.what, total=self.total, visible=False)
        return self

    def at(self, step: int, note: str = "") -> None:
        """Say how far the work is."""
        if self.show:
            visible = time.monotonic() - self._start > _DELAY
            self._progress.update(
                self._task, completed=step, visible=visible, description=f"{self.what} {note}".strip()
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the line."""
        if self.show:
            self._progress.__exit__(kind, error, trace)


def steps(count: int, what: str, *, show: bool) -> Iterator[int]:
    """Count from 0 to ``count - 1`` behind a `Bar`."""
    with Bar(count, what, show=show) as bar:
        for step in range(count):
            yield step
            bar.at(step + 1)
