"""Rows in columns of Arrow, where they lie: a .parquet file, or a Hugging Face data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from torchicon.data.columns import kind_of, paths_of
from torchicon.data.errors import reading
from torchicon.data.table import Encoded

_BATCH = 64  # rows of encoded pictures read together


class Rows(Protocol):
    """n rows; columns are read when they are asked for, and pictures a few at a time.

    Attributes:
        schema: names and types of the columns, and the metadata of the whole.
        n: the number of rows.
        files: what the rows are read from.
    """

    schema: Any
    n: int
    files: list[Path]

    def table(self, names: list[str]) -> Any:
        """Some columns, as an Arrow table."""
        ...

    def paths(self, name: str) -> list[str] | None:
        """The paths of a column of pictures, if each has one."""
        ...

    def pictures(self, name: str) -> Iterator[Encoded]:
        """The pictures of a column, as they are encoded."""
        ...


class ParquetRows:
    """The rows of a .parquet file."""

    def __init__(self, path: Path) -> None:
        with reading(path, ".parquet"), pq.ParquetFile(path) as file:
            self.schema, self.n = file.schema_arrow, file.metadata.num_rows
        self.files = [path]

    def table(self, names: list[str]) -> Any:
        """Some columns, as an Arrow table."""
        with reading(self.files[0], ".parquet"), pq.ParquetFile(self.files[0]) as file:
            return file.read(columns=names)

    def paths(self, name: str) -> list[str] | None:
        """The paths of a column of pictures, read without the pictures."""
        if not _has_path(self.schema.field(name).type):
            return None
        return paths_of(self.table([f"{name}.path"]).column(0))

    def pictures(self, name: str) -> Iterator[Encoded]:
        """The pictures of a column. A path without bytes lies on the machine that wrote the file: not followed."""
        with reading(self.files[0], ".parquet"), pq.ParquetFile(self.files[0]) as file:
            for batch in file.iter_batches(_BATCH, columns=[name]):
                column = batch.column(0)
                yield from (pc.struct_field(column, "bytes") if _is_struct(column.type) else column).to_pylist()


class DatasetRows:
    """The rows of a ``datasets.Dataset``. Columns are taken as they are stored: nothing is decoded."""

    def __init__(self, dataset: Any, where: str | Path) -> None:
        self._dataset, self._where = dataset.with_format("arrow"), Path(where)
        self.schema, self.n = dataset.features.arrow_schema, dataset.num_rows
        self.files = [Path(file["filename"]) for file in dataset.cache_files]

    def table(self, names: list[str]) -> Any:
        """Some columns, as an Arrow table."""
        with reading(self._where, "Hugging Face"):
            return self._dataset.select_columns(names)[:]

    def paths(self, name: str) -> list[str] | None:
        """The paths of a column of pictures, if each has one."""
        return paths_of(self.table([name]).column(0)) if _has_path(self.schema.field(name).type) else None

    def pictures(self, name: str) -> Iterator[Encoded]:
        """The pictures of a column; one that is only a path is read from there."""
        with reading(self._where, "Hugging Face"):
            for table in self._dataset.select_columns([name]).iter(_BATCH):
                for cell in table.column(0).to_pylist():
                    data = cell.get("bytes") if isinstance(cell, dict) else cell
                    path = cell.get("path") if isinstance(cell, dict) else None
                    yield Path(path) if data is None and path else data


def is_picture(kind: Any) -> bool:
    """Whether a column of this Arrow type holds encoded pictures: {bytes, path}, or bytes alone."""
    return kind_of(kind) == "picture" or bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_struct(kind: Any) -> bool:
    return bool(pa.types.is_struct(kind))


def _has_path(kind: Any) -> bool:
    return _is_struct(kind) and kind.get_field_index("path") >= 0
