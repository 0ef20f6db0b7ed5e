"""Readers of plain arrays: .npy, .npz and .safetensors. Nothing is ever unpickled."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from torchicon.data.errors import DataError, reading, suggest
from torchicon.data.table import Parts

_MAPPED_BYTES = 2**30  # features that take more stay in their file, and are read as they are needed
FEATURE_NAMES = ("X", "features", "x")
_NO_PICKLE = (
    "Such arrays are pickles, which can run code, so they are never loaded. "
    "Save numbers with .astype('float32') and text with .astype(str)."
)
_SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


def read_npy(path: Path, labels: str | None) -> Parts:
    """One array: 2-D features, or 3-D or 4-D uint8 pictures."""
    if labels is not None:
        raise DataError(
            f"a .npy file has no labels, so {labels!r} cannot be found",
            path,
            "Save features and labels together: np.savez(file, X=features, y=labels).",
        )
    with reading(path, ".npy"):
        try:  # mapped before it is copied: a header that promises more than the file holds costs no memory
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
            if array.nbytes <= _MAPPED_BYTES or array.ndim != 2 or array.dtype.kind != "f":
                array = np.array(array)
        except ValueError as error:
            if "Python objects" in str(error):
                raise DataError("holds Python objects", path, _NO_PICKLE) from error
            raise
    return _as_parts(array, "array", path)


def read_npz(path: Path, labels: str | None) -> Parts:
    """Named arrays, as ``np.savez`` writes them."""
    arrays, pickled = load_npz(path)
    refuse_pickles([name for name in pickled if name == labels or name in FEATURE_NAMES], path)
    if not arrays:
        refuse_pickles(pickled, path)
    parts = choose(arrays, labels, path)
    parts.notes += [f"The array {name!r} holds Python objects and was not loaded." for name in pickled]
    return parts


def load_npz(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The arrays of a .npz by name, and the names of those that are pickles and stay unread."""
    arrays: dict[str, NDArray[Any]] = {}
    pickled: list[str] = []
    with reading(path, ".npz"):
        if not zipfile.is_zipfile(path):
            raise ValueError("no zip archive, or cut short")
        # Opened here, because numpy leaves a file open whose archive turns out to be broken.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                try:
                    arrays[name] = archive[name]
                except ValueError as error:
                    if "Object arrays" not in str(error):
                        raise
                    pickled.append(name)
    return arrays, pickled


def refuse_pickles(names: list[str], path: Path) -> None:
    """Raise a DataError if there are names: of arrays that are needed and are pickles."""
    if names:
        raise DataError(f"{', '.join(map(repr, names))} holds Python objects", path, _NO_PICKLE)


def read_safetensors(path: Path, labels: str | None) -> Parts:
    """Named tensors; bfloat16 is widened to float32."""
    arrays: dict[str, NDArray[Any]] = {}
    skipped: list[str] = []
    deserialize: Any = safetensors.deserialize  # the package declares it without types
    with reading(path, ".safetensors"):
        for name, tensor in deserialize(path.read_bytes()):
            shape, data, kind = tensor["shape"], tensor["data"], tensor["dtype"]
            if kind == "BF16":  # the upper half of a float32
                wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
                arrays[name] = wide.view(np.float32).reshape(shape)
            elif kind in _SAFETENSORS_TYPES:
                arrays[name] = np.frombuffer(data, _SAFETENSORS_TYPES[kind]).reshape(shape)
            else:
                skipped.append(f"The tensor {name!r} has type {kind} and was not read.")
    parts = choose(arrays, labels, path)
    parts.notes += skipped
    return parts


def choose(arrays: dict[str, NDArray[Any]], labels: str | None, path: Path) -> Parts:
    """Features, pictures, labels and row names among named arrays."""
    if labels is not None and labels not in arrays:
        raise DataError(f"has no array {labels!r} for the labels", path, suggest(labels, list(arrays)))
    rest = {name: array for name, array in arrays.items() if name != labels}
    matrices = {name: a for name, a in rest.items() if a.ndim == 2 and a.dtype.kind in "biuf"}
    pictures = {name: a for name, a in rest.items() if _is_pictures(a)}
    named = next((name for name in FEATURE_NAMES if name in rest), None)
    if named is not None:
        parts = _as_parts(rest[named], named, path)
    elif matrices:
        parts = _as_parts(_only(matrices, arrays, "2-D", path), "", path)
    elif pictures:
        parts = _as_parts(_only(pictures, arrays, "uint8 picture", path), "", path)
    else:
        raise DataError(
            "holds no 2-D array of numbers and no 3-D or 4-D array of uint8 pictures",
            path,
            f"It holds {_shapes(arrays)}. Save features as (n, d) under the name 'X'.",
        )
    n = parts.n
    if parts.images is None:
        aligned = [a for a in pictures.values() if len(a) == n]
        parts.images = aligned[0] if len(aligned) == 1 else None
    texts = [a for a in rest.values() if a.dtype.kind == "U" and a.shape == (n,)]
    if texts:
        parts.row_names = [" | ".join(row) for row in zip(*(a.tolist() for a in texts), strict=True)]
    parts.labels = None if labels is None else arrays[labels]
    return parts


def _is_pictures(array: NDArray[Any]) -> bool:
    return array.ndim in (3, 4) and array.dtype == np.uint8


def _as_parts(array: NDArray[Any], name: str, path: Path) -> Parts:
    if _is_pictures(array):
        return Parts(images=array)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} must be (n, d) numbers, or (n, h, w) or (n, h, w, 3) uint8 pictures, "
            f"but it is {array.shape} {array.dtype}",
            path,
            "Reshape features with .reshape(len(x), -1); scale pictures to 0..255 and use .astype('uint8').",
        )
    return Parts(features=array)


def _only(found: dict[str, NDArray[Any]], arrays: dict[str, NDArray[Any]], kind: str, path: Path) -> NDArray[Any]:
    if len(found) > 1:
        raise DataError(
            f"holds {len(found)} {kind} arrays, and none is named {' or '.join(FEATURE_NAMES)}",
            path,
            f"It holds {_shapes(arrays)}. Save the features under the name 'X'.",
        )
    return next(iter(found.values()))


def _shapes(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name!r} {array.shape} {array.dtype}" for name, array in arrays.items()) or "nothing"
