"""What the reports ask of their arrays before they draw anything."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-6  # by which a float32 softmax may pass 1


def checked_coordinates(values: ArrayLike) -> NDArray[np.float64]:
    """Finite coordinates (n, 2) with n at least 1."""
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"coordinates must have shape (n, 2), but have shape {points.shape}.")
    if len(points) == 0:
        raise ValueError("coordinates are empty: there is nothing to draw.")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise ValueError(f"coordinates must be finite, but row {row} is {points[row].tolist()}.")
    return points


def checked_clusters(values: ArrayLike, n: int, count: int) -> NDArray[np.intp]:
    """Cluster positions (n,), whole numbers in 0 .. count - 1."""
    clusters = np.asarray(values)
    if clusters.ndim != 1 or not np.issubdtype(clusters.dtype, np.integer):
        raise ValueError(
            f"clusters must be whole numbers of shape (n,), but are {clusters.dtype} of shape {clusters.shape}."
        )
    check_length(clusters, "clusters", n)
    if clusters.min() < 0 or clusters.max() >= count:
        raise ValueError(
            f"clusters must be in 0 .. {count - 1}, one for each of the {count} columns of probabilities, "
            f"but range from {clusters.min()} to {clusters.max()}."
        )
    return clusters.astype(np.intp)


def checked_probabilities(values: ArrayLike, n: int) -> NDArray[Any]:
    """Probabilities (n, c) in [0, 1], not copied: they may be the largest array here."""
    probabilities = np.asarray(values)
    if probabilities.ndim != 2 or probabilities.shape[1] == 0:
        raise ValueError(f"probabilities must have shape (n, c), but have shape {probabilities.shape}.")
    check_length(probabilities, "probabilities", n)
    valid = ((probabilities >= 0) & (probabilities <= 1 + _ROUNDING)).all(axis=1)  # written so that NaN fails too
    if not valid.all():
        row = int(valid.argmin())
        raise ValueError(f"probabilities must be in [0, 1], but row {row} is {probabilities[row].tolist()}.")
    return probabilities


def checked_categories(values: ArrayLike, name: str, n: int) -> tuple[list[str], NDArray[np.intp]]:
    """The distinct values as text, numbers in order of size, and each row's position among them (n,)."""
    array = np.asarray(values)
    check_length(array, name, n)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one value a row, shape (n,), but has shape {array.shape}.")
    if array.dtype.kind not in "biuf":  # objects may not compare with one another, their texts do
        array = np.array([str(value) for value in array.tolist()])
    distinct, positions = np.unique(array, return_inverse=True)
    return [str(value) for value in distinct.tolist()], positions


def check_keys(values: Mapping[str, Any] | None, name: str, keys: set[str]) -> None:
    """A dict, if it is given at all, has what the page shows of it."""
    missing = sorted(keys - set(values)) if values is not None else []
    if missing:
        raise ValueError(f"{name} must be a dict with {', '.join(sorted(keys))}, but has no {', '.join(missing)}.")


def check_length(values: Sequence[Any] | NDArray[Any], name: str, n: int) -> None:
    """As many entries as there are points on the map."""
    if len(values) != n:
        raise ValueError(
            f"{name} and coordinates must have one entry for each row, in the same order, "
            f"but {name} has {len(values)} and coordinates has {n}."
        )
