"""Static figures for papers and READMEs. Figures are built without pyplot, so no global state is touched."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from torchicon.viz._checks import checked_categories, checked_coordinates
from torchicon.viz.palette import category_colors


def scatter_figure(
    coordinates: ArrayLike,
    *,
    categories: ArrayLike,
    title: str = "",
    size: tuple[float, float] = (6.4, 5.2),
    seed: int = 0,
) -> Figure:
    """Draw a map, colored by category, each category's name at the median of its points.

    Args:
        coordinates: (n, 2).
        categories: clusters or labels, strings or numbers, (n,).
        title: above the map.
        size: width and height in inches.
        seed: of the order in which points are drawn, so that no category covers another throughout.

    Returns:
        A figure to be saved with ``figure.savefig(path, dpi=200)``.

    Raises:
        ValueError: the lengths differ, or a coordinate is not finite.

    >>> figure = scatter_figure([[0.0, 0.0], [1.0, 2.0]], categories=["left", "right"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['left', 'right']
    """
    points = checked_coordinates(coordinates)
    names, codes = checked_categories(categories, "categories", len(points))
    colors = np.array(category_colors(len(names)))
    order = np.random.default_rng(seed).permutation(len(points))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(
        points[order, 0],
        points[order, 1],
        s=float(np.clip(12_000 / len(points), 0.5, 24)),
        c=colors[codes[order]].tolist(),
        linewidths=0,
        alpha=0.85,
        rasterized=True,  # a vector file with a path for each point opens slowly
    )
    for position, name in enumerate(names):
        x, y = np.median(points[codes == position], axis=0).tolist()
        box = {"boxstyle": "round,pad=.25", "facecolor": "white", "edgecolor": colors[position], "alpha": 0.85}
        axes.text(x, y, name, ha="center", va="center", fontsize=9, parse_math=False, bbox=box)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()
    axes.set_title(title, parse_math=False)
    return figure
