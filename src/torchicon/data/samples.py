"""The samples that an encoder is trained on: pixels or features, and what is known of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchicon.data.checks import check_features, to_float32
from torchicon.data.errors import DataError
from torchicon.data.pixels import decode_pixels, default_cache, digest
from torchicon.data.sources import Asked, Source, open_source

_FORMAT = 1  # of the pixels in the cache: raised when decoding changes


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Samples:
    """n samples: pictures or features, and what comes with them.

    Attributes:
        pixels: (n, 3, size, size) uint8 RGB, in memory or mapped read-only; None for features.
        features: (n, d) float32, finite; None for pictures.
        labels: (n,) positions in ``classes``, -1 where a label is missing; None when none were asked for.
        classes: the labels' names, sorted, numbers as numbers; all of the source's, whatever part of it this is.
        texts: one or more captions of each sample.
        metadata: (n, e) float32, from which the similarity of samples comes (X-Sample contrastive learning).
        edges: (m, 2) rows of the samples that are joined in a graph.
        weights: (m,) float32 of the edges; None when all are alike.
        names: path or row number of each sample.
        skipped: name and reason of each picture that could not be decoded.
        source: the file, folder or id.
        notes: what a user should know about how the source was read, a sentence each.
    """

    pixels: NDArray[np.uint8] | None
    features: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    texts: list[tuple[str, ...]] | None
    metadata: NDArray[np.float32] | None
    edges: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None
    names: list[str]
    skipped: list[str]
    source: str
    notes: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        arrays = ("pixels", "features", "labels", "metadata", "edges")
        there = {name: getattr(self, name) for name in arrays}
        shapes = ", ".join(f"{name} {tuple(a.shape)}" for name, a in there.items() if a is not None)
        return f"Samples({len(self)} of {self.source!r}: {shapes})"

    @property
    def rows(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """What an encoder sees of them: pixels, or features.

        Raises:
            DataError: there are neither.
        """
        rows = self.features if self.pixels is None else self.pixels
        if rows is None:
            raise DataError("holds neither pictures nor features", self.source, "Give one of them to learn from.")
        return rows

    def take(self, index: ArrayLike | slice) -> "Samples":
        """The samples of ``index``, and the edges between them. A slice copies neither pixels nor features.

        Args:
            index: rows, n truths, or a slice.

        Raises:
            DataError: samples with edges are taken twice.
            IndexError: a row that is not there.
        """
        chosen: Any = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(chosen, slice) and chosen.size == 0:
            chosen = chosen.astype(np.intp)  # numpy calls an empty list real numbers
        rows = np.arange(len(self))[chosen]
        edges, weights = self._edges_among(rows)
        return replace(
            self,
            pixels=None if self.pixels is None else self.pixels[chosen],
            features=None if self.features is None else self.features[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            texts=None if self.texts is None else [self.texts[row] for row in rows],
            metadata=None if self.metadata is None else self.metadata[chosen],
            edges=edges,
            weights=weights,
            names=[self.names[row] for row in rows],
        )

    def draw(self, count: int, *, seed: int = 0) -> "Samples":
        """``count`` of the samples, drawn at random and in their order; all of them if there are no more."""
        if count >= len(self):
            return self
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:count]))

    def fingerprint(self) -> dict[str, Any]:
        """What these samples are: n, the shapes, and a sha256 that does not depend on where they lie.

        Of an array of more than 64 MiB, the sha256 covers rows evenly apart, 64 MiB in all.
        """
        arrays = {
            "pixels": self.pixels,
            "features": self.features,
            "labels": self.labels,
            "metadata": self.metadata,
            "edges": self.edges,
            "weights": self.weights,
        }
        there = {name: array for name, array in arrays.items() if array is not None}
        hashed = hashlib.sha256(json.dumps([self.classes, self.texts]).encode())
        for name, array in there.items():
            hashed.update(f"{name} {digest(array)}".encode())
        return {
            "n": len(self),
            "shapes": {name: list(array.shape) for name, array in there.items()},
            "sha256": hashed.hexdigest(),
        }

    def _edges_among(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.int64] | None, NDArray[np.float32] | None]:
        if self.edges is None:
            return None, None
        place = np.full(len(self), -1)
        place[rows] = np.arange(len(rows))
        if np.count_nonzero(place >= 0) < len(rows):
            raise DataError("samples with edges cannot be taken twice", self.source, "Take each row once.")
        edges = place[self.edges]
        inside = (edges >= 0).all(axis=1)
        return edges[inside], None if self.weights is None else self.weights[inside]


def read_samples(
    source: str | Path,
    *,
    size: int | None = 32,
    labels: str | None = None,
    text: str | Sequence[str] | None = None,
    metadata: str | None = None,
    split: str = "train",
    limit: int | None = None,
    cache: Path | None = None,
) -> Samples:
    """Read the samples that an encoder is trained on, and decode their pictures, once.

    Sources: a folder of pictures; a .parquet file with encoded pictures, or with features; a .npz file with arrays
    ``images``, or features, and ``texts``, ``metadata``, ``edges`` and ``weights``; a .npy array; a folder that
    ``datasets`` saved; an id of the Hugging Face hub, where no path of that name exists. Nothing is unpickled.

    A picture's shorter side becomes ``size`` and its center is cut out; one that is size x size stays as it is, bit by
    bit. Pixels of more than 2 GiB are mapped from a file in ``cache``, where a later call finds them again.

    Args:
        source: the file, folder or id.
        size: pixels a side; None keeps the size of the pictures, which has to be one.
        labels: the column or array of the labels, "folder" for class folders. Labels are only read when asked for.
        text: the column or array of captions, or several, each of texts or of lists of texts.
        metadata: the column or array of numbers that say how alike samples are.
        split: of a Hugging Face data set.
        limit: only the first samples of the source, as many.
        cache: the folder for decoded pixels; $XDG_CACHE_HOME/torchicon or ~/.cache/torchicon when omitted.

    Raises:
        DataError: anything that keeps the source from being used, and more than 1 % of pictures that do not decode.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "points.npz"
    >>> np.savez(file, X=np.eye(3), y=["b", "a", ""], edges=[[0, 1], [1, 2]])
    >>> samples = read_samples(file, labels="y")
    >>> samples.labels.tolist(), samples.classes, samples.take([2, 1]).edges.tolist()
    ([1, 0, -1], ('a', 'b'), [[1, 0]])
    """
    for value, name in ((size, "size"), (limit, "limit")):
        if value is not None and value < 1:
            raise DataError(f"must be at least 1, but is {value}", name, "Give a whole number, or None.")
    texts = (text,) if isinstance(text, str) else tuple(text or ())
    found = open_source(source, Asked(labels=labels, texts=texts, metadata=metadata, split=split))
    if not found.names:
        raise DataError("has no samples", source, "Give at least one.")
    samples = _undecoded(found, str(source)).take(slice(limit))
    if found.pictures is None:
        return samples
    decoded = decode_pixels(
        islice(found.pictures, limit),
        samples.names,
        size=size,
        where=source,
        cache=default_cache() if cache is None else Path(cache),
        key=_key(found.files, source, size, split, len(samples)),
    )
    if decoded.skipped:
        samples = samples.take(decoded.kept)
    return replace(samples, pixels=decoded.pixels, skipped=decoded.skipped, notes=samples.notes + decoded.notes)


def _undecoded(found: Source, source: str) -> Samples:
    features = None
    if found.features is not None:
        features = to_float32(check_features(found.features, minimum=1, what=source))
    return Samples(
        pixels=None,
        features=features,
        labels=found.labels,
        classes=found.classes,
        texts=found.texts,
        metadata=found.metadata,
        edges=found.edges,
        weights=found.weights,
        names=found.names,
        skipped=[],
        source=source,
        notes=found.notes,
    )


def _key(files: Sequence[Path], source: str | Path, size: int | None, split: str, n: int) -> str:
    """What decoded pixels depend on, as text: it changes when a file does."""
    hashed = hashlib.sha256()
    for file in files:
        try:
            stat = file.stat()
        except OSError:  # it cannot be read either, and is named then
            continue
        hashed.update(f"{file.absolute()}\0{stat.st_size} {stat.st_mtime_ns}\0".encode())
    where = str(Path(source).absolute()) if Path(source).exists() else str(source)
    return json.dumps([_FORMAT, where, split, size, n, hashed.hexdigest()])
