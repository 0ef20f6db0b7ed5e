"""Thousands of pictures in a few data URIs: thumbnails side by side on sheets, cut out again by CSS."""

import base64
import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Images = NDArray[np.uint8] | Sequence[bytes]

BUDGET = 6_000_000  # characters of base64 that the sheets may take, about
_SHEET_SIDE = 2048  # pixels; phones refuse images much larger than 4096
_SAMPLE = 256


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Sheets of equal cells; slot s is on sheet s // (columns * rows), in reading order.

    Attributes:
        sheets: data URIs of PNG or JPEG images.
        sheet_rows: the number of rows of cells on each sheet (the last one is shorter).
        columns: cells in a row.
        width, height: of a cell, in pixels.
        slots: the slot of each image, or -1 where it was left out to keep the file small, (n,).
    """

    sheets: list[str]
    sheet_rows: list[int]
    columns: int
    width: int
    height: int
    slots: NDArray[np.int32]

    @property
    def kept(self) -> int:
        """How many images have a thumbnail."""
        return int((self.slots >= 0).sum())


def make_thumbnails(images: Images, *, order: NDArray[np.intp], at_least: int, budget: int = BUDGET) -> Thumbnails:
    """Put as many images on sheets as fit the budget, in the given order.

    Args:
        images: uint8 arrays (n, h, w) or (n, h, w, 3), or n encoded images (PNG, JPEG, ...).
        order: every row once, those that matter most first.
        at_least: so many of them get a thumbnail whatever the budget.
        budget: characters of base64 for all sheets, met to within some percent.

    Raises:
        ValueError: the images are neither, or one of them cannot be decoded (it is named).
    """
    n = len(images)
    side = 96 if n <= 1_000 else 64 if n <= 3_000 else 48
    cell = _cell_size(images, side)
    sample = [_thumbnail(images, int(row), cell) for row in order[:: max(1, n // _SAMPLE)][:_SAMPLE]]
    png, jpeg = (len(_data_uri(_sheet(sample, cell, 16), kind)) for kind in ("PNG", "JPEG"))
    kind = "PNG" if png <= 1.2 * jpeg else "JPEG"  # line art and tiny images are smaller without loss
    affordable = budget * len(sample) // (png if kind == "PNG" else jpeg)
    keep = min(n, max(at_least, affordable))

    columns = max(1, min(_SHEET_SIDE // cell[0], int(np.ceil(np.sqrt(keep)))))
    per_sheet = columns * max(1, _SHEET_SIDE // cell[1])
    sheets = []
    for start in range(0, keep, per_sheet):
        rows = order[start : min(start + per_sheet, keep)]
        sheets.append(_sheet([_thumbnail(images, int(row), cell) for row in rows], cell, columns))
    slots = np.full(n, -1, dtype=np.int32)
    slots[order[:keep]] = np.arange(keep)
    return Thumbnails(
        sheets=[_data_uri(sheet, kind) for sheet in sheets],
        sheet_rows=[sheet.height // cell[1] for sheet in sheets],
        columns=columns,
        width=cell[0],
        height=cell[1],
        slots=slots,
    )


def _cell_size(images: Images, side: int) -> tuple[int, int]:
    """Width and height: arrays keep their shape, encoded images of any shape share a square. None grows."""
    if not isinstance(images, np.ndarray):
        rows = range(0, len(images), max(1, len(images) // 64))
        native = max(_native_side(images[row], row) for row in rows)
        return min(side, native), min(side, native)
    channels = images.shape[3:]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or channels not in ((), (3,)) or 0 in images.shape:
        raise ValueError(
            "images must be uint8 of shape (n, h, w) or (n, h, w, 3), or a list of encoded images, "
            f"but are {images.dtype} of shape {images.shape}. Scale them to 0 .. 255 and call .astype('uint8')."
        )
    height, width = images.shape[1:3]
    shrink = min(1.0, side / max(height, width))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _thumbnail(images: Images, row: int, cell: tuple[int, int]) -> Image.Image:
    if isinstance(images, np.ndarray):
        picture = Image.fromarray(images[row])
        return picture if picture.size == cell else picture.resize(cell, Image.Resampling.LANCZOS)
    return _decoded(images[row], row, cell)


def _decoded(encoded: bytes, row: int, cell: tuple[int, int]) -> Image.Image:
    with _naming(row), Image.open(io.BytesIO(encoded)) as opened:
        opened.draft("RGB", cell)  # JPEG decoders can skip most of the work for a small result
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):  # 16-bit gray, which Pillow would clip at 255
            picture = Image.fromarray((np.asarray(picture, dtype=np.int64) >> 8).astype(np.uint8))
        opaque = ImageOps.contain(picture.convert("RGBA"), cell, Image.Resampling.LANCZOS)
    square = Image.new("RGB", cell, (128, 128, 128))
    square.paste(opaque, ((cell[0] - opaque.width) // 2, (cell[1] - opaque.height) // 2), opaque)
    return square


def _native_side(encoded: bytes, row: int) -> int:
    with _naming(row), Image.open(io.BytesIO(encoded)) as opened:
        return max(opened.size)


@contextlib.contextmanager
def _naming(row: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise nearly anything on broken bytes
        raise ValueError(
            f"images[{row}] must be an encoded image (PNG, JPEG, ...), but cannot be decoded: {error}. "
            "Leave the row out, or repair the file."
        ) from error


def _sheet(pictures: Sequence[Image.Image], cell: tuple[int, int], columns: int) -> Image.Image:
    width, height = cell
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    sheet = Image.new(mode, (columns * width, -(-len(pictures) // columns) * height))
    for slot, picture in enumerate(pictures):
        sheet.paste(picture, (slot % columns * width, slot // columns * height))
    return sheet


def _data_uri(sheet: Image.Image, kind: str) -> str:
    options: dict[str, Any] = {"optimize": True} if kind == "PNG" else {"quality": 82, "subsampling": 0}
    stream = io.BytesIO()  # no chroma subsampling: it would smear colors over the borders of the cells
    sheet.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
