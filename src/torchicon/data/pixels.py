"""Every picture decoded once: into one array, in memory or mapped from a cache file."""

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchicon.data.errors import DataError
from torchicon.data.images import FORMATS, decoding, load, reason, skip_or_refuse, upright
from torchicon.data.table import Encoded
from torchicon.data.write import atomic, write_json

MEMORY_BYTES = 2**31  # pixels that take more are mapped from a file
DIGEST_BYTES = 2**26  # of a larger array a digest reads this much, in rows evenly apart
_MAX_THREADS = 8
_AHEAD = 16  # pictures decoded ahead for each thread: enough to keep it busy, few enough for any memory
_WHOLE = 2.0  # a decoder may shrink a picture on its own to this many times the size that is wanted

Picture = Encoded | NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pictures as pixels.

    Attributes:
        pixels: (m, 3, h, w) uint8 RGB, in memory, or mapped read-only from the cache.
        kept: (m,) places of the decoded pictures among those given.
        skipped: the other ones: name (reason).
        notes: a sentence on them, if there are any.
    """

    pixels: NDArray[np.uint8]
    kept: NDArray[np.intp]
    skipped: list[str]
    notes: list[str]


def decode_pixels(
    pictures: Iterable[Picture], names: Sequence[str], *, size: int | None, where: str | Path, cache: Path, key: str
) -> Decoded:
    """Decode n pictures to RGB of one size, in threads; skip and name broken ones, unless they are more than 1 %.

    A picture's shorter side becomes ``size`` and its center is cut out; one that is size x size is left as it is.

    Args:
        pictures: n encoded pictures or arrays (h, w) or (h, w, 3), iterated at most once and not all held.
        names: their names.
        size: pixels a side; None keeps the size of the pictures, which has to be one.
        where: what an error names.
        cache: the folder for pixels of more than 2 GiB.
        key: what names these pixels in the cache; it changes whenever they would.

    Raises:
        DataError: more than 1 % cannot be decoded, sizes differ, or the cache cannot be written.
    """
    file = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pixels"
    found = _cached(file, key, len(names), where)
    if found is not None:
        return found
    broken: dict[int, str] = {}
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with decoding(), ThreadPoolExecutor(threads) as pool:
        good = _good(_in_order(pool, pictures, size, threads * _AHEAD), names, where, broken)
        first = next(good, None)
        if first is None:
            raise _nothing(broken, names, where)
        good = chain([first], good)
        if len(names) * first.nbytes <= MEMORY_BYTES:
            held = np.empty((len(names), *first.shape), dtype=np.uint8)
            count = 0
            for picture in good:
                held[count] = picture
                count += 1
            return _decoded(held[:count], broken, len(names), where)
        with atomic(file) as temporary:
            file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as out:  # written, not mapped: a full disk is then an error, not a crash
                for picture in good:
                    out.write(picture.data)
            skip_or_refuse(list(broken.values()), len(names), where)  # before it takes its place
    pixels = _mapped(file, (len(names) - len(broken), *first.shape))
    about = {"key": key, "shape": list(pixels.shape), "sha256": digest(pixels), "skipped": sorted(broken.items())}
    write_json(file.with_suffix(".json"), about)
    return _decoded(pixels, broken, len(names), where)


def default_cache() -> Path:
    """The folder of this user's caches: $XDG_CACHE_HOME/torchicon, or ~/.cache/torchicon."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~/.cache"))) / "torchicon"


def digest(array: NDArray[Any]) -> str:
    """sha256 of an array's type, shape and bytes; over 64 MiB only of rows evenly apart, the first among them.

    >>> digest(np.zeros(3)) == digest(np.zeros(3)), digest(np.zeros(3)) == digest(np.zeros((3, 1)))
    (True, False)
    """
    step = -(-array.nbytes // DIGEST_BYTES) or 1
    hashed = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    hashed.update(np.ascontiguousarray(array[::step]).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _in_order(
    pool: ThreadPoolExecutor, pictures: Iterable[Picture], size: int | None, ahead: int
) -> Iterator[NDArray[np.uint8] | str]:
    """The pixels of each picture, or why there are none; at most ``ahead`` are under way."""
    waiting: deque[Future[NDArray[np.uint8] | str]] = deque()
    for picture in pictures:
        waiting.append(pool.submit(_pixels_or_reason, picture, size))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _pixels_or_reason(picture: Picture, size: int | None) -> NDArray[np.uint8] | str:
    try:
        return _pixels(picture, size)
    except Exception as error:  # decoders raise errors of every class on hostile bytes
        return reason(error)


def _pixels(picture: Picture, size: int | None) -> NDArray[np.uint8]:
    """(3, h, w) RGB."""
    if isinstance(picture, np.ndarray):
        image = Image.fromarray(picture)
    else:
        opened: Image.Image = Image.open(io.BytesIO(load(picture)), formats=FORMATS)
        if size is not None:  # JPEG decodes faster at 1/2, 1/4 or 1/8 of its size
            opened.draft(None, (int(_WHOLE * size), int(_WHOLE * size)))
        image = upright(opened)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        center = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=center, reducing_gap=_WHOLE)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _good(
    results: Iterator[NDArray[np.uint8] | str], names: Sequence[str], where: str | Path, broken: dict[int, str]
) -> Iterator[NDArray[np.uint8]]:
    """The pictures that could be decoded, all of one shape; the others are put into ``broken``."""
    shape: tuple[int, ...] | None = None
    first = ""
    for row, (result, name) in enumerate(zip(results, names, strict=True)):
        if isinstance(result, str):
            broken[row] = f"{name} ({result})"
            continue
        if shape is None:
            shape, first = result.shape, name
        if result.shape != shape:
            raise DataError(
                f"pictures differ in size: {first} is {shape[2]} x {shape[1]}, "
                f"{name} is {result.shape[2]} x {result.shape[1]}",
                where,
                "Give the size that they are to have (size=...).",
            )
        yield result


def _nothing(broken: dict[int, str], names: Sequence[str], where: str | Path) -> DataError:
    skip_or_refuse(list(broken.values()), len(names), where)
    return DataError("has no pictures", where, "Give at least one.")


def _decoded(pixels: NDArray[np.uint8], broken: dict[int, str], n: int, where: str | Path) -> Decoded:
    skipped = list(broken.values())
    kept = np.delete(np.arange(n), list(broken))
    return Decoded(pixels, kept, skipped, skip_or_refuse(skipped, n, where))


def _mapped(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


def _cached(file: Path, key: str, n: int, where: str | Path) -> Decoded | None:
    """What an earlier run left, if it is whole and really that."""
    try:
        about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        shape = tuple(int(length) for length in about["shape"])
        broken = {int(row): str(text) for row, text in about["skipped"]}
        if about["key"] != key or len(shape) != 4 or shape[0] + len(broken) != n:
            return None
        pixels = _mapped(file, shape)  # a file that is too short cannot be mapped
        return _decoded(pixels, broken, n, where) if digest(pixels) == about["sha256"] else None
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
