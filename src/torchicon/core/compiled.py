"""The equation inside ``torch.compile``: a caller's module stays one graph.

Tiles, sorting, checks and their errors look at data, which a trace cannot. So while a module is traced, neighborhoods
are plain objects that hold traced tensors: what looks at data to make them is put off (`later`, `Rows.settle`), and a
divergence is one operator (`operator`) that runs the ordinary code. Nowhere else does anything change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.rows import Rows

_P = ParamSpec("_P")
_R = TypeVar("_R", bound=Rows)


def operator(
    result: Callable[_P, tuple[tuple[int, ...], torch.dtype]],
) -> Callable[[Callable[_P, Tensor]], Callable[_P, Tensor]]:
    """Where it is traced, make a function of neighborhoods one operator.

    Args:
        result: from the function's arguments to the shape and type of its result.
    """

    def decorate(function: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
            if not torch.compiler.is_compiling():
                return function(*args, **kwargs)
            from torchicon.core.evaluate import evaluate  # here: it loads torch's compiler, which takes a second

            return evaluate(function, args, kwargs, *result(*args, **kwargs))

        return call

    return decorate


def later(known: Callable[_P, tuple[int, Candidates, torch.dtype]]) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Where it is traced, put off a function that looks at data to make rows, until a divergence runs.

    Args:
        known: from the function's arguments to n, candidates and dtype of the rows.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if not torch.compiler.is_compiling():
                return function(*args, **kwargs)
            return cast(_R, _Later((function, args, kwargs), *known(*args, **kwargs)))

        return call

    return decorate


@final
class _Later(Rows):
    """The call that will make rows, and what is known of them before."""

    def __init__(self, call: tuple[Any, ...], n: int, candidates: Candidates, dtype: torch.dtype) -> None:
        self.call, self._n, self.candidates, self._dtype = call, n, candidates, dtype

    @property
    def n(self) -> int:
        """Number of anchors."""
        return self._n

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the log-probabilities."""
        return self._dtype

    def settle(self) -> Rows:
        """The rows."""
        function, args, kwargs = self.call
        rows: Rows = function(*args, **kwargs)
        return rows

    def _unknown(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError(
            "Inside torch.compile the cells of these rows are not known before a divergence runs. Make the rows "
            "outside, or give them to kl, cross_entropy, entropy, objective or joint_kl."
        )

    support = log_at = work_per_cell = _unknown
