"""Checks that stand between a user's arrays and the mathematics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchicon.data.errors import DataError

_BLOCK = 2**22  # values looked at together


def check_features(x: object, *, minimum: int, what: str, columns: Sequence[str] | None = None) -> NDArray[Any]:
    """The features as a finite (n, d) array of float32 or float64, n at least ``minimum``.

    float32 and float64 keep their precision. float16, bool and integers of 8 and 16 bits become float32, which
    holds them exactly; wider integers become float64. A memory-mapped array is looked at block by block, and stays as
    it is.

    Args:
        x: (n, d), anything that numpy reads as an array of numbers.
        minimum: the fewest rows that the caller can work with.
        what: the name that an error gives to ``x``: a file or an argument.
        columns: d names, which an error then uses instead of numbers.

    Raises:
        DataError: not numbers, not 2-D, empty, too few rows, NaN or infinity (with its row and column).

    >>> check_features([[1, 2], [3, 4]], minimum=2, what="X").dtype
    dtype('float64')
    """
    try:
        array: NDArray[Any] = np.asarray(x)
    except Exception as error:  # ragged lists, tensors on a GPU: every library has its own class for it
        raise DataError(
            f"cannot become an array ({error})", what, "Give rows of equal length, in main memory."
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"must hold real numbers, but its type is {array.dtype}",
            what,
            "Convert it first, for example with .astype('float32') or .toarray(), or encode text as numbers.",
        )
    if array.ndim != 2:
        raise DataError(
            f"must be 2-D (one row a sample, one column a feature), but its shape is {array.shape}",
            what,
            "Use .reshape(len(x), -1); for one sample .reshape(1, -1).",
        )
    n, d = array.shape
    if n == 0 or d == 0:
        raise DataError(f"is empty: {n} rows of {d} features", what, "Give at least one row and one feature.")
    if n < minimum:
        rows = "one row" if n == 1 else f"{n} rows"
        raise DataError(f"has {rows}, but at least {minimum} are needed", what, "Give more samples.")
    narrow = array.dtype.itemsize <= 2 or (array.dtype.kind == "f" and array.dtype.itemsize == 4)
    checked: NDArray[Any]
    if isinstance(x, np.memmap) and array.dtype.kind == "f":
        checked = x
    else:
        checked = array.astype(np.float32 if narrow else np.float64, copy=False)
    _check_finite(checked, what, columns)
    return checked


def to_float32(x: NDArray[Any]) -> NDArray[np.float32]:
    """``x`` in float32; what does not fit becomes infinite, for check_features to name."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32, copy=False)


def check_labels(labels: NDArray[Any], *, n: int, name: str, where: str) -> NDArray[Any]:
    """The labels as an (n,) array of integers, bools or text, none of them missing.

    Raises:
        DataError: a wrong length, a missing label (with its row), or real numbers, which name no class.

    >>> check_labels(np.array([1.0, 0.0]), n=2, name="y", where="a.npz")
    array([1, 0])
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise DataError(
            f"labels {name!r} must be one for each of the {n} rows, but their shape is {labels.shape}",
            where,
            "Give labels and features of the same length.",
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind == "U":
        labels = np.char.strip(labels)
        _refuse_missing(labels == "", name, where)
    elif labels.dtype.kind == "f":
        _refuse_missing(np.isnan(labels), name, where)
        broken = np.flatnonzero(labels != np.round(labels.clip(-(2.0**53), 2.0**53)))
        if broken.size:
            raise DataError(
                f"labels {name!r} must name classes, but row {broken[0]} holds {labels[broken[0]]:g}",
                where,
                "Give integers or text.",
            )
        labels = labels.astype(np.int64)
    elif labels.dtype.kind not in "biu":
        raise DataError(
            f"labels {name!r} must be integers or text, but their type is {labels.dtype}",
            where,
            "Convert them with .astype(str) or .astype('int64').",
        )
    return labels


def _refuse_missing(missing: NDArray[np.bool_], name: str, where: str) -> None:
    rows = np.flatnonzero(missing)
    if rows.size:
        raise DataError(
            f"labels {name!r} are missing in {rows.size} of {missing.size} rows, first in row {rows[0]} "
            "(counted from 0)",
            where,
            "Fill them in, drop the rows, or read the file without labels.",
        )


def _check_finite(x: NDArray[np.floating[Any]], what: str, columns: Sequence[str] | None) -> None:
    n, d = x.shape
    count = 0
    places: list[str] = []
    step = max(1, _BLOCK // d)
    for start in range(0, n, step):
        block = x[start : start + step]
        bad = np.argwhere(~np.isfinite(block))
        count += len(bad)
        for row, column in bad[: 3 - len(places)]:
            kind = "NaN" if np.isnan(block[row, column]) else "infinity"
            name = f"{columns[column]!r} ({column})" if columns is not None else str(column)
            places.append(f"{kind} in row {start + row}, column {name}")
    if count:
        raise DataError(
            f"must be finite, but {count} of {n} x {d} values are not: "
            + "; ".join(places)
            + (", ..." if count > 3 else "")
            + " (counted from 0)",
            what,
            "Drop these rows or fill in their values, for example with sklearn.impute.SimpleImputer.",
        )
