"""From columns to features, labels, pictures and row names; the reader of .parquet."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from torchicon.data.arrays import FEATURE_NAMES
from torchicon.data.checks import to_float32
from torchicon.data.errors import DataError, reading, suggest
from torchicon.data.table import Parts

_ANSWERS = frozenset({"label", "labels", "class", "target"})
_INDEX = frozenset({"", "id", "index", "row", "unnamed: 0"})
_PANDAS_INDEX = "__index_level_0__"  # where pandas keeps its index in a .parquet
_COUNTER_ROWS = 10  # a column that counts this many rows is a row number, whatever its name

Kind = Literal["number", "text", "vector", "picture", "other"]


def read_parquet(path: Path, labels: str | None) -> Parts:
    """A table of numbers, one column of vectors, or encoded pictures in a column ``{bytes, path}``."""
    with reading(path, ".parquet"), pq.ParquetFile(path) as file:
        table = file.read()
    return from_table(table, labels, path)


def from_table(table: pa.Table, labels: str | None, path: str | Path) -> Parts:
    """Take a table apart: the best columns become features, the rest labels, pictures and row names."""
    names = [name.strip() for name in table.column_names]
    columns = [plain(column) for column in table.columns]
    kinds = [kind_of(column.type) for column in columns]
    parts = Parts(features=np.empty((table.num_rows, 0), dtype=np.float32))
    free = set(range(len(names)))
    if labels is not None:
        at = find_column(labels, names, path)
        free.remove(at)
        parts.labels = _label_values(columns[at], labels, path)

    def take(kind: Kind) -> list[int]:
        found = sorted(at for at in free if kinds[at] == kind)
        free.difference_update(found)
        return found

    vectors, pictures, texts = take("vector"), take("picture"), take("text")
    index = next((at for at in sorted(free) if _is_index(at, names, columns)), None)
    if index is not None:
        free.remove(index)
    if pictures:
        at = _one(pictures, names, "picture", path)
        parts.encoded = pc.struct_field(columns[at], "bytes").to_pylist()
        parts.row_names = paths_of(columns[at])
    if vectors:
        at = _one(vectors, names, "vector", path)
        parts.features = matrix(columns[at], names[at], path)
        parts.columns = [f"{names[at]}_{place}" for place in range(parts.features.shape[1])]
    elif pictures:
        parts.features = None
    else:
        answers = {at for at in free if kinds[at] == "number" and names[at].lower() in _ANSWERS}
        chosen = [at for at in take("number") if at not in answers]
        if not chosen:
            raise DataError("has no column of numbers, vectors or pictures", path, _held(names, columns))
        parts.features = np.empty((table.num_rows, len(chosen)), dtype=np.float32)
        for place, at in enumerate(chosen):
            parts.features[:, place] = numbers(columns[at])
        parts.columns = [names[at] for at in chosen]
        parts.notes += [
            f"The column {names[at]!r} was not used as a feature, because it seems to hold the answers; to score "
            "against it name it as the labels, to use it rename it."
            for at in sorted(answers)
        ]
    if index is not None:
        parts.row_names = parts.row_names or columns[index].cast(pa.string()).to_pylist()
        parts.notes.append(f"The column {names[index]!r} only numbers the rows and was not used as a feature.")
    if texts:
        cells = (columns[at].to_pylist() for at in texts)
        parts.row_names = [" | ".join(cell or "" for cell in row) for row in zip(*cells, strict=True)]
        parts.notes.append(f"Text columns name the rows: {_quoted(names, texts)}.")
    if free:
        parts.notes.append(f"Columns that were not used: {_quoted(names, sorted(free))}.")
    return parts


def plain(column: Any) -> Any:
    """The column without dictionary encoding (pandas' categories)."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def kind_of(kind: Any) -> Kind:
    """What a column of this Arrow type can serve as."""
    if _is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "vector" if _is_number(kind.value_type) else "other"
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        inner = kind.field("bytes").type
        return "picture" if pa.types.is_binary(inner) or pa.types.is_large_binary(inner) else "other"
    return "other"


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def numbers(column: Any) -> NDArray[np.float32]:
    """(n,) float32 with NaN for what is missing."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return to_float32(column.cast(pa.float64(), safe=False).to_numpy())


def matrix(column: Any, name: str, path: str | Path) -> NDArray[np.float32]:
    """(n, d) of a column of n lists, which all have to hold d numbers."""
    lengths = pc.list_value_length(column).to_numpy().astype(np.float64)  # NaN where the list is missing
    if not len(lengths):
        return np.empty((0, 0), dtype=np.float32)
    odd = np.flatnonzero(lengths != lengths[0])
    if odd.size:
        row = odd[0]
        seen = "is missing" if np.isnan(lengths[row]) else f"holds {lengths[row]:.0f} numbers"
        raise DataError(
            f"the vectors in column {name!r} differ in length: row {row} (counted from 0) {seen}, "
            f"row 0 {'is missing' if np.isnan(lengths[0]) else f'holds {lengths[0]:.0f}'}",
            path,
            "Give every row a vector of the same length.",
        )
    return numbers(pc.list_flatten(column)).reshape(len(lengths), -1)


def _label_values(column: Any, name: str, path: str | Path) -> NDArray[Any]:
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(
            f"labels {name!r} are missing in {column.null_count} of {len(column)} rows, first in row {row} "
            "(counted from 0)",
            path,
            "Fill them in, drop the rows, or read the file without labels.",
        )
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if kind_of(column.type) == "number":
        values: NDArray[Any] = column.to_numpy()
        return values
    try:
        return np.array(column.cast(pa.string()).to_pylist(), dtype=np.str_)
    except pa.ArrowException as error:
        raise DataError(
            f"labels {name!r} must be integers or text, but their type is {column.type}", path, "Convert them."
        ) from error


def _is_index(at: int, names: list[str], columns: list[Any]) -> bool:
    """Whether a column only numbers the rows: an id says nothing about how alike two samples are."""
    column = columns[at]
    if len(names) == 1 or not pa.types.is_integer(column.type) or column.null_count:
        return False
    if names[at] == _PANDAS_INDEX:
        return True
    values = column.to_numpy()
    counts = len(values) >= _COUNTER_ROWS and values[0] in (0, 1) and bool((np.diff(values) == 1).all())
    return counts or (names[at].lower() in _INDEX and len(np.unique(values)) == len(values))


def paths_of(column: Any) -> list[str] | None:
    """The paths of a column of pictures, if each has one."""
    if column.type.get_field_index("path") < 0:
        return None
    paths = pc.struct_field(column, "path")
    return None if paths.null_count or not pa.types.is_string(paths.type) else list(paths.to_pylist())


def find_column(wanted: str, names: list[str], path: str | Path, use: str = "labels") -> int:
    """The place of the column that is to serve as ``use``."""
    found = [at for at, name in enumerate(names) if name == wanted]
    if not found:
        raise DataError(f"has no column {wanted!r} for the {use}", path, suggest(wanted, names))
    if len(found) > 1:
        raise DataError(f"has {len(found)} columns named {wanted!r}", path, "Rename all but one.")
    return found[0]


def _one(found: list[int], names: list[str], kind: str, path: str | Path) -> int:
    if len(found) == 1:
        return found[0]
    named = [at for at in found if names[at] in FEATURE_NAMES]
    if len(named) == 1:
        return named[0]
    raise DataError(
        f"has {len(found)} {kind} columns: {_quoted(names, found)}", path, "Keep one, or name one 'features'."
    )


def _quoted(names: list[str], places: list[int]) -> str:
    more = f" and {len(places) - 20} more" if len(places) > 20 else ""
    return ", ".join(repr(names[at]) for at in places[:20]) + more


def _held(names: list[str], columns: list[Any]) -> str:
    held = ", ".join(f"{name!r} ({column.type})" for name, column in zip(names[:20], columns, strict=False))
    return f"It has {held}. Encode text as numbers, for example with a sentence embedding."
