"""What comes with a sample, checked: labels as numbers, captions, metadata, edges."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchicon.data.checks import check_features, to_float32
from torchicon.data.errors import DataError

_COUNT = re.compile(r"-?\d{1,18}")


def label_positions(
    values: Sequence[object], *, name: str, where: str | Path, class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(n,) positions in the sorted classes, -1 where a label is missing (None, NaN, "" or -1), and the classes.

    Classes that are all whole numbers are sorted as numbers. ``class_names`` are those that integer labels stand for;
    all of them are classes then, seen or not.

    Raises:
        DataError: a label that is neither a whole number nor text, one without a name, or none at all.

    >>> label_positions(["10", "", "9"], name="y", where="a.npz")
    (array([ 1, -1,  0]), ('9', '10'))
    """
    found = [_class_of(value, row, class_names, name, where) for row, value in enumerate(values)]
    seen = {label for label in found if label is not None}
    if not seen:
        raise DataError(f"all {len(found)} labels {name!r} are missing", where, "Read it without labels.")
    known = seen | set(class_names or ())
    if all(_COUNT.fullmatch(label) for label in known):
        classes = sorted(known, key=lambda label: (int(label), label))
    else:
        classes = sorted(known)
    place: dict[str | None, int] = {label: position for position, label in enumerate(classes)}
    return np.array([place.get(label, -1) for label in found], dtype=np.int64), tuple(classes)


def captions(columns: Sequence[Iterable[object]], *, where: str | Path) -> list[tuple[str, ...]]:
    """The texts of each row: those of all ``columns``, whose cells are text, missing, or lists of these.

    Raises:
        DataError: a cell of another type, or a row without any text (with its number).

    >>> captions([["a cat", "a dog"], [None, ["a hound", ""]]], where="a.npz")
    [('a cat',), ('a dog', 'a hound')]
    """
    texts: list[tuple[str, ...]] = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        flat = [text for cell in cells for text in (cell if isinstance(cell, list) else [cell]) if text is not None]
        odd = next((text for text in flat if not isinstance(text, str)), None)
        if odd is not None:
            raise DataError(f"a text in row {row} (counted from 0) is {odd!r:.80}", where, "Name columns of text.")
        texts.append(tuple(text for text in flat if text.strip()))
    empty = [row for row, given in enumerate(texts) if not given]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(texts)} rows have no text, first row {empty[0]} (counted from 0)",
            where,
            "Fill them in or drop the rows.",
        )
    return texts


def check_metadata(values: NDArray[Any], *, n: int, name: str, where: str | Path) -> NDArray[np.float32]:
    """(n, e) finite float32; of (n,) numbers one column.

    Raises:
        DataError: another shape or type, NaN or infinity.
    """
    what = f"{where}: metadata {name!r}"
    metadata = check_features(values[:, None] if values.ndim == 1 else values, minimum=1, what=what)
    if len(metadata) != n:
        raise DataError(f"has {len(metadata)} rows, but there are {n} samples", what, "Give each sample one.")
    return to_float32(metadata)


def check_edges(
    edges: NDArray[Any], weights: NDArray[Any] | None, *, n: int, where: str | Path
) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """(m, 2) rows of the n samples, and (m,) finite weights, none negative.

    Raises:
        DataError: another shape or type, or an edge to a sample that is not there.
    """
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise DataError(
            f"edges must be (m, 2) integers, but they are {edges.shape} {edges.dtype}", where, "Give pairs of rows."
        )
    outside = np.flatnonzero(((edges < 0) | (edges >= n)).any(axis=1))
    if outside.size:
        pair = edges[outside[0]].tolist()
        raise DataError(
            f"edge {outside[0]} joins rows {pair}, but there are {n} samples, counted from 0", where, "Drop the edge."
        )
    if weights is None:
        return edges.astype(np.int64), None
    fine = weights.dtype.kind in "biuf" and weights.shape == (len(edges),)
    if not fine or not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError(
            f"weights must be {len(edges)} finite numbers, none negative, one for each edge, but they are "
            f"{weights.shape} {weights.dtype}" + (" with others among them" if fine else ""),
            where,
            "Mend them, or leave them out.",
        )
    return edges.astype(np.int64), to_float32(weights)


def _class_of(value: object, row: int, class_names: Sequence[str] | None, name: str, where: str | Path) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer():  # integers with gaps are often kept as floats
        value = int(value)
    if value is None or value != value or (value == -1 and not isinstance(value, bool)):
        return None
    if not isinstance(value, int):
        raise DataError(
            f"labels {name!r} must be whole numbers or text, but row {row} (counted from 0) holds {value!r:.80}",
            where,
            "Convert them.",
        )
    if class_names is None:
        return str(value)
    if not 0 <= value < len(class_names):
        raise DataError(
            f"label {value} in row {row} is none of the {len(class_names)} classes that {name!r} names",
            where,
            "Mend the labels, or the names in the file's metadata.",
        )
    return class_names[value]
