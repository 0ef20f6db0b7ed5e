"""Curves of a training run. Figures are built without pyplot, so no global state is touched."""

from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from torchicon.viz.palette import category_colors

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

_BINS = 1_000  # of a long curve, about one a pixel
_MEDIANS = 400  # at most, along a curve
_FEW = 40  # points that are marked one by one


def curve_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str = "",
    xlabel: str = "step",
    ylabel: str = "",
    smooth: bool,
    size: tuple[float, float] = (5.0, 3.1),
    ink: str = "#1d2025",
) -> Figure:
    """Draw curves over the steps of a run, on linear axes; their names are in a legend when there are several.

    Args:
        curves: steps (t,), increasing, and values (t,), by name.
        title: above the curves.
        xlabel: of the steps.
        ylabel: of the values.
        smooth: draw the `running_median` of each curve, and the curve itself lightly behind it.
        size: width and height in inches.
        ink: the color of all text and lines but the curves, for a background that is not white.

    Returns:
        A figure to be saved with ``figure.savefig(path, dpi=200)``.

    Raises:
        ValueError: there is no curve, or one has no points, no steps that increase, or a value that is not finite.

    >>> figure = curve_figure({"loss": ([1, 2, 3], [4.0, 2.0, 1.0])}, ylabel="nats", smooth=False)
    >>> figure.axes[0].get_ylabel()
    'nats'
    """
    checked = {name: checked_curve(name, *curve) for name, curve in curves.items()}
    if not checked:
        raise ValueError("curves are empty: there is nothing to draw.")
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = []
    for (steps, values), color in zip(checked.values(), category_colors(len(checked)), strict=True):
        if smooth:
            axes.plot(*_outline(steps, values), color=color, alpha=0.35, linewidth=0.7)
            steps, values = running_median(steps, values)
        marker = "o" if len(steps) <= _FEW else ""
        lines += axes.plot(*_outline(steps, values), color=color, linewidth=1.8, marker=marker, markersize=4)
    if len(lines) > 1:
        legend = axes.legend(lines, [str(i) for i in range(len(lines))], frameon=False, fontsize=9, labelcolor=ink)
        for text, name in zip(legend.get_texts(), checked, strict=True):
            text.set_parse_math(False)
            text.set_text(name)  # names that begin with an underscore are left out of a legend made with them
    axes.set_title(title, color=ink, parse_math=False)
    axes.set_xlabel(xlabel, color=ink, parse_math=False)
    axes.set_ylabel(ylabel, color=ink, parse_math=False)
    axes.tick_params(color=ink, labelcolor=ink)
    axes.spines[:].set_color(ink)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=ink, alpha=0.13, linewidth=0.8)
    return figure


def running_median(steps: NDArray[np.float64], values: NDArray[np.float64]) -> Curve:
    """The median of a noisy curve over a window of about one 25th of its points, where the whole window fits.

    A curve of fewer than 50 points stays as it is.

    Args:
        steps: (t,).
        values: (t,), t at least 1.

    Returns:
        Steps in the middle of the windows and medians, at most 400 of each.

    >>> steps, medians = running_median(np.arange(100.0), np.arange(100.0) ** 2)
    >>> print(steps[0], medians[0], len(medians))
    2.0 4.0 96
    """
    half = len(values) // 50
    last = len(values) - 1 - half
    middles = np.unique(np.linspace(half, last, min(last - half + 1, _MEDIANS)).astype(np.intp))
    medians = [np.median(values[middle - half : middle + half + 1]) for middle in middles.tolist()]
    return steps[middles], np.array(medians)


def checked_curve(name: str, steps: ArrayLike, values: ArrayLike) -> Curve:
    """Increasing steps and finite values, one for one and at least one, each (t,).

    Raises:
        ValueError: they are not.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"{name} must have as many steps as values, both (t,), but has shapes {x.shape} and {y.shape}."
        )
    if len(x) == 0:
        raise ValueError(f"{name} has no points: there is nothing to draw.")
    for what, numbers in (("step", x), ("value", y)):
        if not np.isfinite(numbers).all():
            row = int(np.isfinite(numbers).argmin())
            raise ValueError(f"{name} must be finite, but {what} {row} is {numbers[row]}. Leave out what is not.")
    falls = np.flatnonzero(np.diff(x) <= 0)
    if len(falls):
        before, after = x[falls[0] : falls[0] + 2].tolist()
        raise ValueError(f"{name} must have steps that increase, but {after:g} follows {before:g}. Sort them.")
    return x, y


def _outline(steps: NDArray[np.float64], values: NDArray[np.float64]) -> Curve:
    """The lowest and highest point of each of many bins: what can be seen of a curve of a million points."""
    if len(values) <= 4 * _BINS:
        return steps, values
    starts = np.linspace(0, len(values), _BINS, endpoint=False).astype(np.intp)
    bins = np.split(values, starts[1:])
    extremes = [[start + part.argmin(), start + part.argmax()] for start, part in zip(starts, bins, strict=True)]
    rows = np.unique([0, len(values) - 1, *np.ravel(extremes)])
    return steps[rows], values[rows]
