"""Colors that stay apart for color-blind readers, on white and on near-black.

After a blue, an orange and a magenta, each further color is the one farthest from those before it, among sRGB colors
of moderate chroma that show on both backgrounds: farthest in OKLab (Ottosson, 2020), under the worst of protanopia,
deuteranopia (Machado et al., 2009) and normal vision, which counts .6, as it tells more colors apart. The first ten
stay at least .075 apart, about as far as the seven of Okabe and Ito, and all 24 at least .04.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PALETTE = (
    "#3f7fc4", "#e8862b", "#c2457e", "#356708", "#37ccac", "#b7a0fb", "#8e7922", "#6f4fa1",
    "#b98188", "#73a6c4", "#844957", "#b8b476", "#227c85", "#8388e0", "#5b975d", "#9e6253",
    "#139fa5", "#9eb9e5", "#876ca7", "#83ae53", "#9e4421", "#c7734c", "#f39ba2", "#ca9780",
)  # fmt: skip
GRAY = "#8b929c"
_LOW, _MIDDLE, _HIGH = (0xD9, 0x5F, 0x0E), (0xA6, 0x9F, 0x98), (0x2F, 0x6F, 0xB5)


def category_colors(count: int) -> list[str]:
    """One color a category; after the 24th they repeat, so that names must tell categories apart.

    >>> category_colors(26)[24:] == category_colors(2)
    True
    """
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def aligned_colors(
    categories: NDArray[np.intp], count: int, reference: NDArray[np.intp], reference_colors: Sequence[str]
) -> list[str]:
    """Colors for another partition of the same rows: a category takes the color of what it overlaps most.

    Pairs are taken greedily, largest overlap first, each reference color once; what is left over gets colors
    that are not in use as long as there are any.

    Args:
        categories: positions of each row's category, (n,), in 0 .. count - 1.
        count: the number of categories.
        reference: positions of each row in the partition whose colors are known, (n,).
        reference_colors: the color of each position of the reference.

    >>> aligned_colors(np.array([0, 0, 1]), 2, np.array([1, 1, 0]), ["red", "blue"])
    ['blue', 'red']
    """
    width = len(reference_colors)
    pairs, sizes = np.unique(categories * width + reference, return_counts=True)
    found: dict[int, int] = {}
    for pair in pairs[np.argsort(-sizes, kind="stable")].tolist():
        category, partner = divmod(pair, width)
        if category not in found and partner not in found.values():
            found[category] = partner
    taken = {reference_colors[partner] for partner in found.values()}
    spare = [color for color in category_colors(count) if color not in taken] or [GRAY]
    rest = (i for i in range(count) if i not in found)
    spares = {category: spare[i % len(spare)] for i, category in enumerate(rest)}
    return [reference_colors[found[i]] if i in found else spares[i] for i in range(count)]


def scale_colors(count: int) -> list[str]:
    """From orange (low) through gray to blue (high), a pair that every kind of color vision tells apart.

    >>> scale_colors(3)
    ['#d95f0e', '#a69f98', '#2f6fb5']
    """
    at = np.linspace(0, 2, count)
    channels = [
        np.interp(at, [0, 1, 2], [low, middle, high]) for low, middle, high in zip(_LOW, _MIDDLE, _HIGH, strict=True)
    ]
    return [f"#{round(red):02x}{round(green):02x}{round(blue):02x}" for red, green, blue in zip(*channels, strict=True)]
