"""What the map script reads: typed arrays as base64, and one list of colors for each way to color the map."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchicon.viz.palette import GRAY, category_colors, scale_colors
from torchicon.viz.thumbnails import Thumbnails

MAX_NAMES = 60  # categories with their own entry in the legend
_TEXT_BUDGET = 8_000_000  # characters for the texts of all rows
_SHADES = 16


@dataclass(frozen=True, eq=False)
class Mode:
    """One way to color the map.

    Attributes:
        title: what the button says.
        codes: the position of each row's color, (n,).
        names: of the categories; the two ends of the scale when ``is_scale``.
        colors: by position.
        is_scale: the positions are steps of a scale, not categories.
    """

    title: str
    codes: NDArray[np.intp]
    names: list[str]
    colors: list[str]
    is_scale: bool = False


def category_mode(
    title: str, names: Sequence[str], codes: NDArray[np.intp], colors: Sequence[str] | None = None
) -> Mode:
    """Color by category; the rarest of more than `MAX_NAMES` share a gray "others"."""
    colors = category_colors(len(names)) if colors is None else colors
    if len(names) <= MAX_NAMES:
        return Mode(title, codes, list(names), list(colors))
    common = np.sort(np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[: MAX_NAMES - 1])
    position = np.full(len(names), MAX_NAMES - 1)
    position[common] = np.arange(len(common))
    others = f"{len(names) - len(common):,} others"
    return Mode(title, position[codes], [*(names[i] for i in common), others], [*(colors[i] for i in common), GRAY])


def confidence_mode(confidence: NDArray[np.float64], count: int) -> Mode:
    """Color by confidence, from chance (one of ``count`` clusters) to certainty."""
    chance = 1 / count if count > 1 else 0.0
    steps = np.floor((confidence - chance) / (1 - chance) * _SHADES).astype(np.intp)
    ends = [f"{chance:.0%} (chance)" if count > 1 else "0%", "100%"]
    return Mode("Confidence", np.clip(steps, 0, _SHADES - 1), ends, scale_colors(_SHADES), is_scale=True)


def map_data(
    coordinates: NDArray[np.float64],
    *,
    modes: Sequence[Mode],
    confidence: NDArray[np.float64] | None,
    names: Sequence[str] | None,
    thumbnails: Thumbnails | None,
    rows: NDArray[np.intp],
) -> dict[str, Any]:
    """The JSON of the map script, for the given rows only.

    Args:
        coordinates: (n, 2).
        modes: at least one.
        confidence: in [0, 1], (n,).
        names: a text for each row, n of them.
        thumbnails: of the n images.
        rows: those to draw, in drawing order.
    """
    longest = min(300, max(40, _TEXT_BUDGET // len(rows)))
    return {
        "count": len(rows),
        "points": _packed(coordinates[rows], "<f4"),
        "rows": _packed(rows, "<u4"),
        "confidence": None if confidence is None else _packed(np.rint(confidence[rows] * 65_535), "<u2"),
        "texts": None if names is None else [clipped(names[row], longest) for row in rows.tolist()],
        "modes": [
            {
                "title": mode.title,
                "codes": _packed(mode.codes[rows], "<u2"),
                "names": mode.names,
                "colors": mode.colors,
                "isScale": mode.is_scale,
            }
            for mode in modes
        ],
        "thumbnails": None
        if thumbnails is None
        else {
            "slots": _packed(thumbnails.slots[rows], "<i4"),
            "columns": thumbnails.columns,
            "sheetRows": thumbnails.sheet_rows,
            "width": thumbnails.width,
            "height": thumbnails.height,
        },
    }


def clipped(text: str, longest: int) -> str:
    """The text, cut with an ellipsis where it is longer."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
