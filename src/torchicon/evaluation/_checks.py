"""What every measure asks of its arrays before it counts anything."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_categories(values: ArrayLike, name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The distinct values in sorted order (c,), and for each row the position of its value in them (n,)."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one value a row, shape (n,), but has shape {array.shape}.")
    if len(array) == 0:
        raise ValueError(f"{name} is empty: there is nothing to measure.")
    missing = np.array([_is_missing(value) for value in array.tolist()])
    if missing.any():
        raise ValueError(
            f"{name} must not have missing values, but row {missing.argmax()} is missing "
            f"({missing.sum()} of {len(array)} are). Drop those rows from every argument."
        )
    try:
        distinct, positions = np.unique(array, return_inverse=True)
    except TypeError as error:
        kinds = ", ".join(sorted({type(value).__name__ for value in array.tolist()}))
        raise ValueError(f"{name} must all be strings or all be numbers, but mixes {kinds}.") from error
    return distinct, positions


def _is_missing(value: object) -> bool:
    try:
        return value is None or bool(value != value)  # NaN is the one value that differs from itself
    except TypeError:  # pandas.NA refuses to be compared
        return True


def as_points(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite float64 points (n, d) with n and d at least 1."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} must have one row a point, shape (n, d), but has shape {array.shape}.")
    if array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}): there is nothing to measure.")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.unravel_index(int(finite.argmin()), array.shape)
        raise ValueError(f"{name} must be finite, but {name}[{row}, {column}] is {array[row, column]}.")
    return array


def unit_rows(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Points (n, d) scaled to length 1; a row of zeros has no direction and is refused by name."""
    points = as_points(values, name)
    largest = np.abs(points).max(axis=1, keepdims=True)  # divided first: squares of huge entries overflow
    if not largest.all():
        raise ValueError(
            f"{name} must have no row of zeros, as it has no direction, but row {largest[:, 0].argmin()} is "
            f"({(largest == 0).sum()} of {len(points)} are). Drop those rows from every argument."
        )
    scaled: NDArray[np.float64] = points / largest
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled


def check_same_length(first: int, first_name: str, second: int, second_name: str) -> None:
    """Both arrays speak of the same rows."""
    if first != second:
        raise ValueError(
            f"{first_name} and {second_name} must have one entry for each row, in the same order, "
            f"but {first_name} has {first} and {second_name} has {second}."
        )


def check_neighbors(k: int, n: int) -> None:
    """Each point has n - 1 others, so k of them can be asked for only when 1 <= k <= n - 1."""
    if not 1 <= k < n:
        raise ValueError(f"k must be between 1 and n - 1 = {n - 1}, as a point is not its own neighbor, but is {k}.")
