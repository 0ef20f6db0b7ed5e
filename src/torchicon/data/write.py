"""Writes that are whole or not there: a reader never meets half a file or half a folder."""

import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from torchicon.data.errors import DataError

MARK = "torchicon"  # the key in config.json that tells our folders from others


def write_parquet(path: str | Path, columns: Mapping[str, ArrayLike]) -> None:
    """Write named columns atomically; an (n, d) array becomes a column of n vectors.

    Raises:
        DataError: columns that differ in length or are not 1-D or 2-D, or a place that cannot be written.
    """
    path = Path(path)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    if len({array.shape[:1] for array in arrays.values()}) > 1 or any(
        a.ndim not in (1, 2) or 0 in a.shape[1:] for a in arrays.values()
    ):
        shapes = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())
        raise DataError(f"columns must be (n,) or (n, d), but they are {shapes}", path, "Give each n rows.")
    table = pa.table({name: _arrow(array) for name, array in arrays.items()})
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def write_json(path: str | Path, obj: object) -> None:
    """Write ``obj`` as strict JSON, atomically. numpy numbers and arrays and paths are converted.

    Raises:
        DataError: NaN, infinity or a type that JSON does not know, or a place that cannot be written.
    """
    path = Path(path)
    try:
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot be written as JSON ({error})", path, "Use None for what is undefined.") from error
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def output_folder(path: str | Path, *, force: bool, known: Collection[str] | None = None) -> Iterator[Path]:
    """A folder that appears under ``path`` only when the body has succeeded.

    The body writes to the temporary folder that it is given, a hidden sibling of ``path``. On any exception,
    Ctrl-C too, that folder is removed and what stood under ``path`` still stands.

    Args:
        path: the folder to make; missing parents are made.
        force: replace an existing torchicon folder, which is known by its config.json with a "torchicon" key.
        known: names that a replaced folder may hold; with any other it is not replaced. All, when omitted.

    Raises:
        DataError: the folder exists and is not empty (without ``force``), is not ours (with it), is a file, or
            cannot be written.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "run"
    >>> with output_folder(target, force=False) as folder:
    ...     write_json(folder / "config.json", {"torchicon": "0.1"})
    >>> [file.name for file in target.iterdir()]
    ['config.json']
    """
    target = Path(path).resolve()  # through links: the folder that a link names is the one to replace
    with _writing(target):
        _refuse_occupied(target, force, known)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _move(temporary, target, force=force, known=known)


def _refuse_occupied(target: Path, force: bool, known: Collection[str] | None) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise DataError("is a file, not a folder", target, "Name another output folder.")
    if target.is_mount():
        raise DataError("is a mount point, which cannot be replaced", target, f"Write to {target / 'run'} instead.")
    if not any(target.iterdir()):
        return
    if not force:
        raise DataError(
            "exists and is not empty", target, "Name another output folder, or use --force (force=True) to replace it."
        )
    if not _is_ours(target):
        raise DataError(
            "holds files, but no config.json of torchicon, so it is not replaced even by force",
            target,
            "Name another output folder, or empty this one yourself.",
        )
    foreign = sorted(entry.name for entry in target.iterdir() if known is not None and entry.name not in known)
    if foreign:
        raise DataError(
            f"holds what torchicon did not write ({', '.join(foreign[:3])}), so it is not replaced even by force",
            target,
            "Move that elsewhere, or name another output folder.",
        )


def _is_ours(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and MARK in config


def _move(temporary: Path, target: Path, *, force: bool, known: Collection[str] | None) -> None:
    """Put the finished folder in its place; the old one goes only when the new one stands."""
    old = temporary.with_suffix(".old")
    try:
        _refuse_occupied(target, force, known)  # again: the body may have taken hours
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    except (DataError, OSError) as error:
        _restore(old, target)
        reason = error.what if isinstance(error, DataError) else error.strerror
        raise DataError(
            f"cannot be put in place ({reason})", target, f"The finished results are in {temporary}."
        ) from error
    except BaseException:
        _restore(old, target)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _restore(old: Path, target: Path) -> None:
    if old.exists() and not target.exists():
        old.rename(target)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that replaces it once the body has written it.

    Raises:
        DataError: a place that cannot be written, or has no room.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _writing(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror or error})", path, "Name a place that exists, has room and is yours."
        ) from error


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some systems have no way to sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _arrow(array: NDArray[Any]) -> Any:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).ravel()), array.shape[1])


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
