"""Small pictures of embeddings: a byte for each coordinate, and arrays that several pictures share kept once."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

POINT, PARTNER, PROTOTYPE = range(3)  # what a point stands for: a sample, its other modality, a class

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """Points in a square or a cube; the third coordinate comes toward the reader.

    Attributes:
        points: (n, 2) or (n, 3), 0 .. 255 on every axis.
        codes: the position of each point's color, (n,).
        roles: `POINT`, `PARTNER` or `PROTOTYPE`, (n,).
        on_sphere: all points lie on the unit sphere.
    """

    points: Bytes
    codes: Bytes
    roles: Bytes
    on_sphere: bool = False


def make_picture(
    positions: ArrayLike, *, codes: ArrayLike, roles: ArrayLike | None = None, on_sphere: bool = False
) -> Picture:
    """Quantize positions to a byte an axis. All axes share one scale, so that shapes are kept.

    Args:
        positions: finite, (n, 2) or (n, 3); of unit length when ``on_sphere``.
        codes: whole numbers in 0 .. 255, (n,).
        roles: `POINT` when omitted, (n,).
        on_sphere: keep the unit ball where it is instead of filling the square.

    Raises:
        ValueError: shapes or ranges do not fit.

    >>> make_picture([[0.0, 0.0], [2.0, 1.0]], codes=[0, 1]).points.tolist()
    [[0, 64], [255, 191]]
    """
    values = np.asarray(positions, dtype=np.float64)
    n = len(values)
    if values.ndim != 2 or n == 0 or values.shape[1] not in (2, 3) or not np.isfinite(values).all():
        raise ValueError(f"positions must be finite, of shape (n, 2) or (n, 3), but have shape {values.shape}.")
    if on_sphere:
        center, radius = np.zeros(values.shape[1]), 1.0
    else:
        low, high = values.min(0), values.max(0)
        center, radius = (low + high) / 2, float((high - low).max()) / 2 or 1.0
    scaled = np.rint(((values - center) / radius + 1) * 127.5)
    return Picture(
        np.clip(scaled, 0, 255).astype(np.uint8),
        _as_bytes(codes, "codes", n),
        np.zeros(n, dtype=np.uint8) if roles is None else _as_bytes(roles, "roles", n),
        on_sphere,
    )


def pack_pictures(pictures: Mapping[str, Picture]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Arrays as base64, each distinct one once, and for each picture the positions of its own among them.

    >>> one = make_picture([[0.0, 0.0], [2.0, 1.0]], codes=[0, 0])
    >>> pack_pictures({"a": one, "b": one})
    (['AED/vw==', 'AAA='], {'a': {'dims': 2, 'points': 0, 'codes': 1, 'roles': 1, 'sphere': False}, \
'b': {'dims': 2, 'points': 0, 'codes': 1, 'roles': 1, 'sphere': False}})
    """
    places: dict[str, int] = {}

    def place(values: Bytes) -> int:
        text = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
        return places.setdefault(text, len(places))

    packed = {
        name: {
            "dims": picture.points.shape[1],
            "points": place(picture.points),
            "codes": place(picture.codes),
            "roles": place(picture.roles),
            "sphere": picture.on_sphere,
        }
        for name, picture in pictures.items()
    }
    return list(places), packed


def unpack_pictures(arrays: list[str], packed: Mapping[str, Mapping[str, Any]]) -> dict[str, Picture]:
    """The pictures that `pack_pictures` packed."""
    values = [np.frombuffer(base64.b64decode(text), dtype=np.uint8) for text in arrays]
    return {
        name: Picture(
            values[entry["points"]].reshape(-1, entry["dims"]),
            values[entry["codes"]],
            values[entry["roles"]],
            entry["sphere"],
        )
        for name, entry in packed.items()
    }


def _as_bytes(values: ArrayLike, name: str, n: int) -> Bytes:
    array = np.asarray(values)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() > 255:
        raise ValueError(f"{name} must be {n} whole numbers in 0 .. 255, but are {array.dtype} of shape {array.shape}.")
    return array.astype(np.uint8)
