"""Points that may be larger than memory: rows of an array, converted as they are visited, and where they lie."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchicon.core.numerics import row_blocks
from torchicon.estimators._workers import workers

_VISIT_BYTES = 2**21  # of a block that is looked at once


class MappedPoints:
    """The rows (n, d) of an array on disk or in half precision, without a copy of the whole.

    Indexing converts the rows asked for to float32 (float64 for whole numbers and float64) and gives
    ``(x - center) / unit``.
    """

    def __init__(self, array: NDArray[Any], center: Tensor | None = None, unit: float = 1.0) -> None:
        self._array, self._center, self._unit = array, center, unit
        self._kind = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize < 8 else np.float64
        self.dtype = torch.float32 if self._kind is np.float32 else torch.float64
        self.device = torch.device("cpu")
        self.shape = torch.Size(array.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        picked = self._array[rows.numpy() if isinstance(rows, Tensor) else rows]
        block = torch.from_numpy(np.array(picked, dtype=self._kind, order="C"))
        return block if self._center is None else block.sub_(self._center).div_(self._unit)

    def moved(self, center: Tensor, unit: float) -> MappedPoints:
        """The same rows seen from ``center`` in units of ``unit``."""
        return MappedPoints(self._array, center, unit)


Points = Tensor | MappedPoints  # what is sliced and indexed by rows gives a tensor


class Frame(NamedTuple):
    """Where points lie: mean (d,), a power of two near the largest deviation from it, and the mean squared deviation.

    Seen from there, squares of large offsets do not cancel and those of huge or tiny numbers do not overflow or vanish.
    """

    center: Tensor
    unit: float
    spread: float  # of a column, in squared units

    def enter(self, x: Points) -> Points:
        """Points as seen from the frame; a tensor is copied, a mapped array is not."""
        return x.moved(self.center, self.unit) if isinstance(x, MappedPoints) else self.shift(x)

    def shift(self, x: Tensor) -> Tensor:
        """A tensor as seen from the frame."""
        return (x - self.center).div_(self.unit)

    def leave(self, centers: Tensor) -> Tensor:
        """Centers seen from the frame, as they are."""
        return centers * self.unit + self.center


def frame_of(x: Points, weight: Tensor | None) -> Frame:
    """The frame of points (n, d) with weights (n,) in float64, in two visits."""
    n, d = x.shape
    size = max(1, _VISIT_BYTES // (8 * d))
    blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    mass = float(n if weight is None else weight.sum())

    def total(rows: slice) -> Tensor:
        return x[rows].sum(0, dtype=torch.float64) if weight is None else weight[rows] @ x[rows].double()

    def deviation(rows: slice) -> tuple[float, float]:
        block = x[rows] - center
        peak = float(torch.stack(block.aminmax()).abs().amax())
        unit = floor_power_of_two(peak)
        norm = torch.linalg.vector_norm(block.div_(unit), dim=1).double()
        return unit if peak else 0.0, float(norm @ norm if weight is None else weight[rows] @ norm.square_())

    with workers() as crew:
        center = (torch.stack(crew.each(total, blocks)).sum(0) / mass).to(x.dtype)
        seen = crew.each(deviation, blocks)
    largest = max(unit for unit, _ in seen) or 1.0
    return Frame(center, largest, sum(square * (unit / largest) ** 2 for unit, square in seen) / (mass * d))


def take(x: Points, index: Tensor) -> Tensor:
    """The rows at an index, which a tensor copies fastest by `index_select`."""
    return x.index_select(0, index) if isinstance(x, Tensor) else x[index]


def is_mapped(X: Any) -> bool:
    """Whether an input is visited in blocks: a memory-mapped array of numbers, or one in half precision."""
    if isinstance(X, Tensor):
        return X.dtype == torch.float16
    return isinstance(X, np.ndarray) and (
        X.dtype == np.float16 or (isinstance(X, np.memmap) and X.dtype.kind in "biuf")
    )


def check_finite(x: NDArray[Any]) -> None:
    """Visit an array in blocks.

    Raises:
        ValueError: NaN or infinity; the first is named by row and column.
    """
    for rows in row_blocks(len(x), 2 * x.itemsize * x.shape[1]):
        bad = ~np.isfinite(x[rows])
        if bad.any():
            row, column = (int(v) for v in np.argwhere(bad)[0])
            seen = "NaN" if np.isnan(x[rows][row, column]) else "infinity"
            raise ValueError(
                f"Input X contains NaN or infinity: {seen} in row {rows.start + row}, column {column}. "
                "Drop or impute them, for instance with sklearn.impute.SimpleImputer."
            )


def floor_power_of_two(peak: float) -> float:
    """The power of two at or below a magnitude, 1 for zero: dividing by it rounds nothing."""
    return 2.0 ** (math.frexp(peak)[1] - 1) if peak > 0 else 1.0
