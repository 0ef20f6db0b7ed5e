"""Schedules of a size over the iterations of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torchicon.candidates._checks import require_size


@final
@dataclass(frozen=True)
class Anneal:
    """From one size to another, linearly in the iteration over the first half of training, then constant.

    The ball of BALL+ and ANN+ shrinks in this way from the whole bank to its final size. Wu et al. (2020) leave the
    schedule open; this is a choice (theory 11).

    Args:
        start: size at iteration 0.
        end: size from half of the iterations on.
        iterations: of the whole training.

    Raises:
        ValueError: an argument below 1, or, in a call, a negative iteration.

    >>> size = Anneal(50_000, 4096, iterations=1000)
    >>> size(0), size(250), size(500), size(999)
    (50000, 27048, 4096, 4096)
    """

    start: int
    end: int
    iterations: int

    def __post_init__(self) -> None:
        for name in ("start", "end", "iterations"):
            require_size(name, getattr(self, name))

    def __call__(self, iteration: int) -> int:
        """The size at an iteration, rounded to the nearest whole number."""
        if iteration < 0:
            raise ValueError(f"An iteration is at least 0, got {iteration}.")
        done = min(1.0, 2 * iteration / self.iterations)
        return round(self.start + done * (self.end - self.start))
