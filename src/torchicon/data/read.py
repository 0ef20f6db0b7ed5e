"""Read any supported file or folder into a Table."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from torchicon.data.arrays import read_npy, read_npz, read_safetensors
from torchicon.data.checks import check_features, check_labels, to_float32
from torchicon.data.columns import read_parquet
from torchicon.data.delimited import read_delimited
from torchicon.data.errors import DataError, reading
from torchicon.data.images import SUFFIXES, decode_all, pixel_features, pixels_of, read_folder
from torchicon.data.table import Images, Parts, Table

READERS: dict[str, Callable[[Path, str | None], Parts]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": read_parquet,
    ".safetensors": read_safetensors,
}
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".pt", ".pth"})


def read_table(path: str | Path, *, labels: str | None = None) -> Table:
    """Read features, and what comes with them, from a file or a folder of pictures.

    The suffix decides the format: .npy, .npz, .csv, .tsv, .parquet, .safetensors, or a folder. Pictures that come
    with features are kept to be looked at; pictures alone become features by their pixels. Nothing is unpickled.

    Args:
        path: the file or folder.
        labels: the column or array that holds the labels; "folder" for a folder of pictures in class folders.

    Raises:
        DataError: anything that keeps the file from being used: what, where and the way out.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "points.csv"
    >>> _ = file.write_text("x,y,kind\\n0,1,a\\n2,3,b\\n")
    >>> table = read_table(file, labels="kind")
    >>> table.features.tolist(), table.labels.tolist(), table.columns
    ([[0.0, 1.0], [2.0, 3.0]], ['a', 'b'], ['x', 'y'])
    """
    path = Path(path)
    with reading(path, "readable"):
        is_folder = path.is_dir()
        size = path.stat().st_size
    reader = read_folder if is_folder else _reader_of(path, size)
    parts = reader(path, labels)
    if parts.n == 0:
        raise DataError("has no rows", path, "Give at least one sample.")
    if labels is not None and parts.labels is not None:
        parts.labels = check_labels(parts.labels, n=parts.n, name=labels, where=str(path))
    images = _look_at(parts, path)
    assert parts.features is not None  # where there were none, the pictures' pixels are
    n, d = parts.features.shape
    columns = parts.columns or [f"c{column}" for column in range(d)]
    mapped = isinstance(parts.features, np.memmap)
    features = parts.features if mapped else to_float32(parts.features)
    features = check_features(features, minimum=1, what=str(path), columns=columns)
    return Table(
        features=features if mapped else np.require(to_float32(features), requirements=["C", "O", "W"]),
        labels=parts.labels,
        label_name=labels,
        row_names=parts.row_names or [str(row) for row in range(n)],
        images=images,
        columns=columns,
        source=path,
        notes=parts.notes,
    )


def _reader_of(path: Path, size: int) -> Callable[[Path, str | None], Parts]:
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(f"the suffix {suffix!r} is none of {', '.join(READERS)}", path, _way_out(suffix))
    if not path.is_file():
        raise DataError("is not a regular file", path, "Save the data to a file first.")
    if size == 0:
        raise DataError("is an empty file (0 bytes)", path, "Write it again.")
    return READERS[suffix]


def _way_out(suffix: str) -> str:
    if suffix in _PICKLES:
        return "Pickles can run code and are never loaded: save the array with numpy.save."
    if suffix in SUFFIXES:
        return "Give the folder that holds the pictures."
    return "Save the features with numpy.save, or as a .csv or .parquet table."


def _look_at(parts: Parts, path: Path) -> Images | None:
    """The pictures to show. Rows of broken ones are dropped, and pixels become features where there are none."""
    if parts.encoded is not None:
        names = parts.row_names or [f"row {row}" for row in range(parts.n)]
        pictures = decode_all(parts.encoded, names, path)
        kept = pictures.kept
        parts.notes += pictures.notes
        parts.labels = None if parts.labels is None else parts.labels[kept]
        parts.row_names = None if parts.row_names is None else [parts.row_names[row] for row in kept]
        parts.features = None if parts.features is None else parts.features[kept]
        images: Images = pictures.thumbnails
        pixels = pictures.pixels
    elif parts.images is not None:
        images = pixels = pixels_of(parts.images, path)
    else:
        return None
    if parts.features is None:
        parts.features, note = pixel_features(pixels)
        parts.notes.append(note)
    return images
