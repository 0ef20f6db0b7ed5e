"""Where samples come from: one reader for each kind of source. Pictures stay encoded, and are opened one at a time."""

import importlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchicon.data.arrays import FEATURE_NAMES, choose, load_npz, read_npy, refuse_pickles
from torchicon.data.columns import find_column, from_table, kind_of, matrix, numbers, plain
from torchicon.data.errors import DataError, reading, suggest
from torchicon.data.fields import captions, check_edges, check_metadata, label_positions
from torchicon.data.images import SUFFIXES, pixels_of, read_folder
from torchicon.data.pixels import Picture
from torchicon.data.rows import DatasetRows, ParquetRows, Rows, is_picture
from torchicon.data.table import Parts

_BESIDE = ("labels", "texts", "metadata", "edges", "weights")  # arrays of a .npz that are no features by default
_IMAGE_NAMES = ("image", "images", "img")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(kw_only=True)
class Source:
    """n samples before their pictures are decoded: either ``pictures`` or ``features`` are there.

    Attributes:
        names: n paths or row numbers.
        files: what the pictures are read from; a change of one of them changes the pictures.
    """

    names: list[str]
    pictures: Iterable[Picture] | None = None
    features: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    texts: list[tuple[str, ...]] | None = None
    metadata: NDArray[np.float32] | None = None
    edges: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The names under which a source is to be searched."""

    labels: str | None
    texts: tuple[str, ...]
    metadata: str | None
    split: str


def open_source(source: str | Path, asked: Asked) -> Source:
    """Find the reader of a source, by what lies there, and read all but the pictures.

    Raises:
        DataError: anything that keeps the source from being used.
    """
    path = Path(source)
    if not path.exists() and _HUB_ID.fullmatch(str(source)) and path.suffix.lower() not in {*_READERS, *SUFFIXES}:
        return _from_hub(str(source), asked)
    with reading(path, "readable"):
        path.stat()
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return _from_disk(path, asked)
    if asked.split != "train":
        raise DataError(
            f"has no split {asked.split!r}", path, "Only Hugging Face data sets have: give the file itself."
        )
    if path.is_dir():
        return _from_folder(path, asked)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"the suffix {path.suffix!r} is none of {', '.join(_READERS)}",
            path,
            "Give a folder of pictures or of a Hugging Face data set, or save features with numpy.save.",
        )
    return reader(path, asked)


def _from_folder(path: Path, asked: Asked) -> Source:
    _refuse_names(path, asked, "a folder of pictures")
    parts = read_folder(path, asked.labels)
    assert parts.encoded is not None
    assert parts.row_names is not None
    files = [file for file in parts.encoded if isinstance(file, Path)]
    source = Source(names=parts.row_names, pictures=files, files=files)
    _label(source, parts, asked, path)
    return source


def _label(source: Source, parts: Parts, asked: Asked, path: Path) -> None:
    if asked.labels is None or parts.labels is None:
        return
    labels = parts.labels[:, 0] if parts.labels.ndim == 2 and parts.labels.shape[1] == 1 else parts.labels
    if labels.shape != (parts.n,):
        raise DataError(
            f"labels {asked.labels!r} must be one for each of the {parts.n} samples, but their shape is {labels.shape}",
            path,
            "Give labels and samples of the same length.",
        )
    source.labels, source.classes = label_positions(labels.tolist(), name=asked.labels, where=path)


def _from_npy(path: Path, asked: Asked) -> Source:
    _refuse_names(path, asked, "a .npy file")
    return _from_parts(read_npy(path, asked.labels), path)


def _from_npz(path: Path, asked: Asked) -> Source:
    arrays, pickled = load_npz(path)
    named = [("labels", asked.labels), ("metadata", asked.metadata), *(("texts", name) for name in asked.texts)]
    needed = {*FEATURE_NAMES, *_BESIDE, "images", *(name for _, name in named)} - ({"labels"} - {asked.labels})
    refuse_pickles([name for name in pickled if name in needed], path)
    for use, name in named:
        if name is not None and name not in arrays:
            raise DataError(f"has no array {name!r} for the {use}", path, suggest(name, list(arrays)))
    texts = asked.texts or tuple(name for name in ("texts",) if name in arrays)
    metadata = asked.metadata or "metadata"
    beside = {*_BESIDE, *texts, metadata} - {asked.labels}
    rest = {name: array for name, array in arrays.items() if name not in beside}
    if "images" in rest:
        rest = {name: rest[name] for name in ("images", asked.labels) if name is not None}
    parts = choose(rest, asked.labels, path)
    source = _from_parts(parts, path)
    _label(source, parts, asked, path)
    n = len(source.names)
    if texts:
        source.texts = captions([_text_cells(arrays[name], name, n, path) for name in texts], where=path)
    if metadata in arrays:
        source.metadata = check_metadata(arrays[metadata], n=n, name=metadata, where=path)
    if "edges" in arrays:
        source.edges, source.weights = check_edges(arrays["edges"], arrays.get("weights"), n=n, where=path)
    return source


def _from_parquet(path: Path, asked: Asked) -> Source:
    return _from_rows(ParquetRows(path), path, asked)


def _from_disk(path: Path, asked: Asked) -> Source:
    with _datasets(path, "Write it again with save_to_disk.") as datasets:
        found = datasets.load_from_disk(str(path))
    if isinstance(found, dict):  # of splits
        if asked.split not in found:
            raise DataError(f"has no split {asked.split!r}", path, suggest(asked.split, list(found)))
        found = found[asked.split]
    elif asked.split not in ("train", str(found.split)):
        raise DataError(f"has no split {asked.split!r}", path, "It holds one data set: leave the split out.")
    return _from_rows(DatasetRows(found, path), path, asked)


def _from_hub(name: str, asked: Asked) -> Source:
    if "/" not in name:
        raise DataError("does not exist", name, "Check the path. An id of the Hugging Face hub reads owner/name.")
    fix = "No path of this name exists; if it is an id of the Hugging Face hub, check it, the split and the network."
    with _datasets(name, fix) as datasets:
        found = datasets.load_dataset(name, split=asked.split)
    return _from_rows(DatasetRows(found, name), name, asked)


def _from_rows(rows: Rows, where: str | Path, asked: Asked) -> Source:
    beside = {"labels": asked.labels, "metadata": asked.metadata}
    uses = [*beside.items(), *(("texts", name) for name in asked.texts)]
    for use, name in uses:
        if name is not None:
            find_column(name, rows.schema.names, where, use)
    taken = sorted({name for _, name in uses if name is not None})
    free = [name for name in rows.schema.names if name not in taken]
    pictures = [name for name in free if is_picture(rows.schema.field(name).type)]
    if pictures:
        name = _one_picture(pictures, where)
        names = rows.paths(name) or [str(row) for row in range(rows.n)]
        source = Source(names=names, pictures=rows.pictures(name), files=rows.files)
    else:
        source = _from_parts(from_table(rows.table(free), None, where), where)
    columns = {name: plain(rows.table([name]).column(0)) for name in taken}
    if asked.texts:
        source.texts = captions([columns[name].to_pylist() for name in asked.texts], where=where)
    if asked.metadata is not None:
        source.metadata = _metadata(columns[asked.metadata], asked.metadata, rows.n, where)
    if asked.labels is not None:
        column = columns[asked.labels]
        if kind_of(column.type) not in ("number", "text"):
            raise DataError(
                f"labels {asked.labels!r} must be integers or text, but their type is {column.type}",
                where,
                "Name another column.",
            )
        source.labels, source.classes = label_positions(
            (column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column).to_pylist(),
            name=asked.labels,
            where=where,
            class_names=_class_names(rows.schema, asked.labels),
        )
    return source


def _metadata(column: Any, name: str, n: int, where: str | Path) -> NDArray[np.float32]:
    kind = kind_of(column.type)
    if kind not in ("number", "vector"):
        raise DataError(
            f"metadata {name!r} must be numbers, but their type is {column.type}", where, "Name another column."
        )
    values = matrix(column, name, where) if kind == "vector" else numbers(column)
    return check_metadata(values, n=n, name=name, where=where)


def _from_parts(parts: Parts, where: str | Path) -> Source:
    """What a reader of features or of arrays of pictures found, but not its labels."""
    source = Source(names=parts.row_names or [str(row) for row in range(parts.n)], notes=parts.notes)
    if parts.features is not None:
        source.features = parts.features
        return source
    assert parts.images is not None
    source.pictures, source.files = pixels_of(parts.images, Path(where)), [Path(where)]
    return source


def _one_picture(found: list[str], where: str | Path) -> str:
    named = [name for name in found if name in _IMAGE_NAMES]
    if len(found) == 1 or len(named) == 1:
        return (named or found)[0]
    raise DataError(
        f"has {len(found)} picture columns: {', '.join(map(repr, found))}", where, "Keep one, or name one 'image'."
    )


def _text_cells(array: NDArray[Any], name: str, n: int, path: Path) -> list[Any]:
    """n texts, or n lists of them."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind != "U" or array.ndim not in (1, 2) or len(array) != n:
        raise DataError(
            f"texts {name!r} must be ({n},) or ({n}, r) text, but they are {array.shape} {array.dtype}",
            path,
            "Save them with .astype(str), one row a sample.",
        )
    cells: list[Any] = array.tolist()
    return cells


def _refuse_names(path: Path, asked: Asked, kind: str) -> None:
    for use, name in [("texts", name) for name in asked.texts] + [("metadata", asked.metadata)]:
        if name is not None:
            raise DataError(f"{kind} holds no {use} {name!r}", path, "Use a .parquet or .npz file that holds both.")


def _class_names(schema: Any, column: str) -> list[str] | None:
    """The names of a column's integers, where the file's Hugging Face metadata has some."""
    try:
        described = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]
        names = described["names"] if described["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


@contextmanager
def _datasets(where: str | Path, fix: str) -> Iterator[Any]:
    """The package ``datasets``, imported when it is needed; what it raises becomes a DataError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package and of what it imports
        try:
            datasets = importlib.import_module("datasets")
        except ImportError as error:
            raise DataError(
                "is read with the package datasets, which is not installed",
                where,
                f"pip install 'torchicon[train]'. {fix}",
            ) from error
        try:
            yield datasets
        except Exception as error:  # of the network, of files, of the package: every layer has its own classes
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise DataError(f"cannot be loaded as a data set ({lines[0][:200].rstrip('.')})", where, fix) from error


_READERS = {".parquet": _from_parquet, ".npz": _from_npz, ".npy": _from_npy}
