"""The reader of .csv and .tsv, with or without a row of names."""

import csv
import re
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from torchicon.data.columns import from_table
from torchicon.data.errors import DataError, reading
from torchicon.data.table import Parts

_MISSING = ("", "?", "NA", "N/A", "#N/A", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None")
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_IS_NUMBER = re.compile(_NUMBER + r"|^\s*[-+]?(inf|infinity)\s*$", re.IGNORECASE)
_MOSTLY = 0.9  # a column with this share of numbers is a column of numbers with mistakes in it


def read_delimited(path: Path, labels: str | None) -> Parts:
    """Columns of numbers become features, columns of text name the rows.

    The first row is one of names when none of its cells is a number, when one of them stands as text above a
    number, or when its numbers count 0, 1, 2, ... as pandas does. Without names the columns are c0, c1, ...
    """
    suffix = path.suffix.lower()
    with reading(path, suffix):
        _refuse_binary(path)
        delimiter = "\t" if suffix == ".tsv" else _delimiter(path)
        has_names = _has_names(path, delimiter)
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(autogenerate_column_names=not has_names),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(null_values=list(_MISSING)),
        )
        names = table.column_names if has_names else [f"c{column}" for column in range(table.num_columns)]
        table = table.rename_columns(names)
    _refuse_typos(table, labels, path)
    return from_table(table, labels, path)


def _refuse_binary(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("is UTF-16 text", path, "Save it as UTF-8.")
    if b"\0" in head:
        raise ValueError("binary data")


def _delimiter(path: Path) -> str:
    """A comma, or the semicolon or tab that some programs write into a .csv."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = next((line for line in file if line.strip()), "")
    return next((mark for mark in ",;\t" if mark in line), ",")


def _has_names(path: Path, delimiter: str) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = list(islice((row for row in csv.reader(file, delimiter=delimiter) if any(row)), 2))
    first, second = [*rows, [], []][:2]
    numbers = [cell for cell in first if _IS_NUMBER.match(cell)]
    if not numbers or (len(numbers) > 2 and numbers == [str(count) for count in range(len(numbers))]):
        return True
    return any(
        _IS_NUMBER.match(below) and not _IS_NUMBER.match(above) and above.strip() not in _MISSING
        for above, below in zip(first, second, strict=False)
    )


def _refuse_typos(table: pa.Table, labels: str | None, path: Path) -> None:
    """One mistyped number would turn its column into text, and the column would silently be no feature."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name.strip() == labels or not pa.types.is_string(column.type):
            continue
        good = pc.match_substring_regex(column, _NUMBER).to_numpy()
        if good.mean() > _MOSTLY and not good.all():
            row = int((~good).argmax())
            raise DataError(
                f"column {name!r} holds numbers in {good.sum()} of {good.size} rows, but {column[row].as_py()!r} "
                f"in row {row} (counted from 0)",
                path,
                "Correct these cells, or leave the column out.",
            )
