"""Colors that can be told apart, and a static figure."""

import io

import numpy as np
import pytest
from PIL import Image

from torchicon.viz.figures import scatter_figure
from torchicon.viz.mapdata import MAX_NAMES, category_mode, confidence_mode
from torchicon.viz.palette import GRAY, PALETTE, aligned_colors

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
# Ottosson (2020), "A perceptual color space for image processing"
TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


def linear(colors):
    srgb = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in colors])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("count", "least"), [(10, 0.075), (24, 0.04)])
def test_colors_stay_apart(vision, count, least):
    seen = np.clip(linear(PALETTE[:count]) @ np.transpose(VISION[vision]), 0, 1)
    lab = np.cbrt(seen @ TO_LMS.T) @ TO_LAB.T
    distances = np.linalg.norm(lab[:, None] - lab, axis=-1)
    assert distances[~np.eye(count, dtype=bool)].min() >= least


@pytest.mark.parametrize("background", ["#ffffff", "#191c21"])
def test_colors_show_on_both_backgrounds(background):
    luminance, behind = (linear(colors) @ [0.2126, 0.7152, 0.0722] + 0.05 for colors in (PALETTE, [background]))
    assert np.maximum(luminance / behind, behind / luminance).min() >= 1.9


def test_aligned_colors_use_each_color_once():
    """Four categories against three: the largest overlaps win, the one left over gets a color of its own."""
    reference = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    categories = np.array([3, 3, 0, 0, 0, 1, 1, 1, 2])
    colors = aligned_colors(categories, 4, reference, PALETTE[:3])
    assert [colors[3], colors[0], colors[1]] == list(PALETTE[:3])
    assert colors[2] == PALETTE[3]


def test_rare_categories_share_gray():
    names = [f"n{i}" for i in range(100)]
    codes = np.repeat(np.arange(100), np.arange(100) + 1)
    mode = category_mode("Label", names, codes)
    assert len(mode.names) == len(mode.colors) == MAX_NAMES
    assert (mode.names[-1], mode.colors[-1]) == ("41 others", GRAY)
    assert [mode.names[code] for code in mode.codes[[0, -1]]] == ["41 others", "n99"]


def test_confidence_runs_from_chance_to_certainty():
    mode = confidence_mode(np.array([0.0, 0.25, 0.5, 1.0]), 4)
    assert (mode.codes[[0, 1, 3]] == [0, 0, 15]).all()
    assert mode.codes[2] == 5  # a third of the way
    assert confidence_mode(np.ones(2), 1).codes.tolist() == [15, 15]


def test_scatter_figure():
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.standard_normal((200, 2)), generator.standard_normal((100, 2)) + 9])
    figure = scatter_figure(points, categories=["a $x"] * 200 + ["b_1"] * 100, title="Two $ groups", size=(4, 3))
    stream = io.BytesIO()
    figure.savefig(stream, dpi=100, format="png")
    picture = np.asarray(Image.open(stream).convert("RGB")).astype(int)
    assert picture.shape == (300, 400, 3)
    for color in PALETTE[:2]:
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(picture - wanted).max(axis=-1) < 40).sum() > 50
    a, b = figure.axes[0].texts
    assert (a.get_text(), b.get_text()) == ("a $x", "b_1")
    assert np.linalg.norm(np.subtract(a.get_position(), [0, 0])) < 0.5
    assert np.linalg.norm(np.subtract(b.get_position(), [9, 9])) < 0.5


def test_scatter_figure_refuses():
    with pytest.raises(ValueError, match="categories has 2 and coordinates has 3"):
        scatter_figure(np.zeros((3, 2)), categories=[0, 1])
