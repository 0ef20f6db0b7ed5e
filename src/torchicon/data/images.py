"""Pictures: folders of them, their thumbnails, and their pixels as a last resort for features."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from torchicon.data.errors import DataError, reading
from torchicon.data.table import Encoded, Parts

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})
FOLDER_LABELS = "folder"
THUMBNAIL = 96  # pixels a side: what a report shows
PIXELS = 32  # pixels a side: what serves as features
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
_KEEP_BYTES = 1 << 16  # a small picture in a larger file carries metadata that a report need not


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures that could be decoded.

    Attributes:
        kept: indices of the decoded pictures among those given.
        thumbnails: one PNG or JPEG each, at most 96 pixels a side.
        pixels: (n, h, w) or (n, h, w, 3) uint8: native size if that is one size within 32 x 32, else 32 x 32.
        notes: names of those that could not be decoded.
    """

    kept: NDArray[np.intp]
    thumbnails: list[bytes]
    pixels: NDArray[np.uint8]
    notes: list[str]


def read_folder(folder: Path, labels: str | None) -> Parts:
    """The picture files below ``folder``, sorted by path; they are opened later, one at a time.

    With ``labels="folder"`` a picture's label is the name of the folder it lies in.
    """
    with reading(folder, "folder"):
        files = sorted(path for path in folder.rglob("*") if _is_picture(path, folder))
    if not files:
        raise DataError("holds no pictures", folder, f"Pictures end in {', '.join(sorted(SUFFIXES))}.")
    parts = Parts(encoded=list(files), row_names=[path.relative_to(folder).as_posix() for path in files])
    if labels is None:
        return parts
    if labels != FOLDER_LABELS:
        raise DataError(
            f"a folder of pictures has no labels {labels!r}",
            folder,
            "Sort the pictures into one folder a class and use the labels 'folder'.",
        )
    parents = [path.parent.name for path in files]
    if len(set(parents)) == 1:
        raise DataError(
            f"all {len(files)} pictures lie in the one folder {parents[0]!r}, so their folders are no labels",
            folder,
            "Sort them into one folder a class, or read them without labels.",
        )
    parts.labels = np.array(parents)
    return parts


def decode_all(encoded: Sequence[Encoded], names: Sequence[str], where: Path) -> Pictures:
    """Decode every picture; skip and name the broken ones, unless they are more than 1 %."""
    kept: list[int] = []
    thumbnails: list[bytes] = []
    pixels: list[NDArray[np.uint8]] = []
    native = True
    broken: list[str] = []
    with decoding():
        for index, (source, name) in enumerate(zip(encoded, names, strict=True)):
            try:
                thumbnail, pixel, whole = _decode(load(source))
            except Exception as error:  # decoders raise errors of every class on hostile bytes
                broken.append(f"{name} ({reason(error)})")
                continue
            kept.append(index)
            thumbnails.append(thumbnail)
            pixels.append(pixel)
            native = native and whole
    notes = skip_or_refuse(broken, len(names), where)
    same = native and len({pixel.shape[:2] for pixel in pixels}) == 1
    color = any(pixel.ndim == 3 for pixel in pixels)
    uniform = np.stack([_uniform(pixel, color, same) for pixel in pixels])
    return Pictures(np.array(kept, dtype=np.intp), thumbnails, uniform, notes)


@contextmanager
def decoding() -> Iterator[None]:
    """What decoders warn of is ignored, except a picture that is so large that it may be an attack: that fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that is not used
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def reason(error: Exception) -> str:
    """Why a picture cannot be decoded."""
    return "no picture" if isinstance(error, UnidentifiedImageError) else str(error)


def skip_or_refuse(broken: Sequence[str], total: int, where: str | Path) -> list[str]:
    """The note on the broken ones among ``total`` pictures.

    Raises:
        DataError: they are more than 1 %.
    """
    if not broken:
        return []
    first = "; ".join(broken[:3]) + ("; ..." if len(broken) > 3 else "")
    if 100 * len(broken) > total:
        raise DataError(
            f"{len(broken)} of {total} pictures cannot be decoded: {first}",
            where,
            "Up to 1 % would be skipped. Remove or replace them.",
        )
    return [f"{len(broken)} of {total} pictures cannot be decoded and were skipped: {first}."]


def pixels_of(images: NDArray[np.uint8], where: Path) -> NDArray[np.uint8]:
    """Pictures given as pixels, as (n, h, w) or (n, h, w, 3): channels last, one channel dropped, alpha on white."""
    if images.ndim == 4 and images.shape[-1] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
        images = images.transpose(0, 2, 3, 1)
    if (images.ndim == 4 and images.shape[-1] not in (1, 3, 4)) or 0 in images.shape:
        raise DataError(
            f"pictures must be (n, h, w) or (n, h, w, 1, 3 or 4 channels), but their shape is {images.shape}",
            where,
            "Reshape them, or save (n, d) features.",
        )
    if images.ndim == 4 and images.shape[-1] == 1:
        return images[..., 0]
    if images.ndim == 4 and images.shape[-1] == 4:
        return np.stack([np.asarray(_opaque(Image.fromarray(image))) for image in images])
    return images


def pixel_features(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], str]:
    """(n, d) features in [0, 1] of the pixels, and the note that says what they are worth."""
    n, height, width = pixels.shape[:3]
    if max(height, width) > PIXELS:
        pixels = np.stack([_uniform(image, pixels.ndim == 4, False) for image in pixels])
    kind = "RGB" if pixels.ndim == 4 else "gray"
    note = (
        f"The features are raw pixels, {pixels.shape[1]} x {pixels.shape[2]} {kind}. They suit drawings and digits but "
        "are weak for photographs: features of a pretrained network do better."
    )
    return np.divide(pixels.reshape(n, -1), np.float32(255), dtype=np.float32), note


def _is_picture(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)  # a system's own thumbnails
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def load(source: Encoded) -> bytes:
    """The encoded bytes of one picture."""
    if source is None:
        raise ValueError("missing")
    return source.read_bytes() if isinstance(source, Path) else source


def _decode(data: bytes) -> tuple[bytes, NDArray[np.uint8], bool]:
    """Thumbnail, pixels within 32 x 32, and whether these are the whole picture."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    shown = max(image.size) <= THUMBNAIL and image.format in ("PNG", "JPEG") and len(data) <= _KEEP_BYTES
    whole = max(image.size) <= PIXELS
    image.draft(None, (THUMBNAIL, THUMBNAIL))  # JPEG decodes faster at 1/2, 1/4 or 1/8 of its size
    image = upright(image)
    thumbnail = data if shown else _encode(image)
    if not whole:
        image = image.resize((PIXELS, PIXELS), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return thumbnail, np.asarray(image), whole


def upright(image: Image.Image) -> Image.Image:
    """Turned as its camera says, 8 bits, gray (L) or RGB."""
    return _opaque(ImageOps.exif_transpose(image) if "exif" in image.info else image)


def _opaque(image: Image.Image) -> Image.Image:
    """8 bits, gray (L) or RGB; what is transparent shows white, as it does in a browser."""
    if image.mode.startswith("I"):  # 16-bit gray, which convert() would clip instead of scale
        return Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _encode(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    return out.getvalue()


def _uniform(pixel: NDArray[np.uint8], color: bool, native: bool) -> NDArray[np.uint8]:
    """One of many pictures that have to agree: in RGB if any is ``color``, and 32 x 32 unless all are ``native``."""
    if (native or pixel.shape[:2] == (PIXELS, PIXELS)) and (pixel.ndim == 3 or not color):
        return pixel
    image = Image.fromarray(pixel)
    if color and image.mode != "RGB":
        image = image.convert("RGB")
    if not native:
        image = image.resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
    return np.asarray(image)
