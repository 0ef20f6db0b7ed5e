"""The reports: one HTML file each, which opens without a network and can be sent to anyone."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchicon.viz import _checks
from torchicon.viz.mapdata import Mode, category_mode, clipped, confidence_mode, map_data
from torchicon.viz.members import ClusterSummary, summarize
from torchicon.viz.page import render, write_atomically
from torchicon.viz.palette import aligned_colors, category_colors
from torchicon.viz.thumbnails import Images, Thumbnails, make_thumbnails

MAX_POINTS = 100_000  # the map script redraws about so many at an interactive rate
_METRICS = {"accuracy", "nmi", "ari", "classes", "clusters", "confusion"}


def write_cluster_report(
    path: str | os.PathLike[str],
    *,
    coordinates: ArrayLike,
    clusters: ArrayLike,
    probabilities: ArrayLike,
    title: str,
    command: str,
    settings: Mapping[str, Any],
    notes: Sequence[str],
    timings: Mapping[str, float],
    seed: int,
    description: str = "",
    versions: Mapping[str, str] | None = None,
    labels: ArrayLike | None = None,
    metrics: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
    baseline_metrics: Mapping[str, Any] | None = None,
    images: Images | None = None,
    row_names: Sequence[str] | None = None,
) -> None:
    """Write a report on a clustering: a map to explore, each cluster by its members, scores, and how to rerun it.

    Every string may come from anywhere: it is escaped. Above 100,000 rows the map draws a sample, and above 6 MB
    of thumbnails it shows pictures for a sample, both chosen by the seed; the page says so.

    Args:
        path: the file; its folder must exist. It is replaced at once, when the report is whole.
        coordinates: of each row on the map, (n, 2).
        clusters: in 0 .. c - 1, (n,).
        probabilities: of each cluster, in [0, 1], (n, c). A row's confidence is that of its own cluster.
        title: of the page.
        command: the command line that makes this report again.
        settings: names and values, shown in this order.
        notes: remarks and warnings, in plain sentences.
        timings: steps and their seconds.
        seed: that the clustering was run with; it also draws the samples shown.
        description: plain sentences on what was done.
        versions: of the software, by name.
        labels: known classes, strings or numbers, used only to compare, (n,).
        metrics: of the clusters against the labels: a dict with accuracy, nmi and ari in [0, 1], and classes,
            clusters and confusion, whose first rows and columns are matched in order.
        baseline: another clustering of the same features: a dict with its name and its clusters (n,).
        baseline_metrics: of the baseline, in the same form.
        images: uint8 (n, h, w) or (n, h, w, 3), or n encoded images (PNG, JPEG, ...).
        row_names: a text for each row, such as a file name or its fields.

    Raises:
        ValueError: shapes, lengths or ranges do not fit together, or an image cannot be decoded.
        OSError: the file cannot be written.
    """
    points = _checks.checked_coordinates(coordinates)
    n = len(points)
    shares = _checks.checked_probabilities(probabilities, n)
    count = shares.shape[1]
    members = _checks.checked_clusters(clusters, n, count)
    known = None if labels is None else _checks.checked_categories(labels, "labels", n)
    _checks.check_keys(metrics, "metrics", _METRICS)
    _checks.check_keys(baseline, "baseline", {"name", "clusters"})
    _checks.check_keys(baseline_metrics, "baseline_metrics", _METRICS)
    if baseline_metrics is not None and (baseline is None or metrics is None):
        raise ValueError("baseline_metrics are shown beside metrics, under the name of the baseline: give all three.")

    summaries = summarize(members, shares, known, typical=5 if images is None else 12)
    confidence = shares[np.arange(n), members].astype(np.float64)
    colors = category_colors(count)
    modes = [category_mode("Cluster", _cluster_names(summaries), members, colors)]
    if known is not None:
        modes.append(_aligned_mode("Label", known, members, colors))
    if baseline is not None:
        other = _checks.checked_categories(baseline["clusters"], "baseline['clusters']", n)
        modes.append(_aligned_mode(str(baseline["name"]), other, members, colors))
    modes.append(confidence_mode(confidence, count))

    shown = np.array([m.row for s in summaries for m in (*s.most, *s.least)], dtype=np.intp)
    common = _common(points, modes, confidence=confidence, images=images, row_names=row_names, first=shown, seed=seed)
    page = render(
        "cluster.html",
        **common,
        title=title,
        description=description,
        clusters=summaries,
        colors=colors,
        median=float(np.median(confidence)),
        unsure=int((confidence < 0.5).sum()),
        metrics=metrics,
        baseline_name=None if baseline is None else baseline["name"],
        baseline_metrics=baseline_metrics,
        settings=_with_seed(settings, seed),
        versions=versions or {},
        timings=timings,
        notes=notes,
        command=command,
    )
    write_atomically(path, page)


def write_map_report(
    path: str | os.PathLike[str],
    *,
    coordinates: ArrayLike,
    title: str,
    command: str,
    settings: Mapping[str, Any],
    notes: Sequence[str],
    timings: Mapping[str, float],
    seed: int | None = None,
    description: str = "",
    versions: Mapping[str, str] | None = None,
    labels: ArrayLike | None = None,
    images: Images | None = None,
    row_names: Sequence[str] | None = None,
) -> None:
    """Write a report on a map of the data: the map to explore, and how to make it again.

    The arguments are those of `write_cluster_report`; labels, where there are any, color the map.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "map.html")
    >>> write_map_report(path, coordinates=[[0.0, 1.0], [2.0, 0.5]], title="Two points",
    ...     command="torchicon embed two.npy", settings={"perplexity": 1.0}, notes=[], timings={"map": 0.1})
    >>> "<title>Two points</title>" in path.read_text(encoding="utf-8")
    True

    Raises:
        ValueError: shapes or lengths do not fit together, or an image cannot be decoded.
        OSError: the file cannot be written.
    """
    write_map_page(
        path,
        "map.html",
        coordinates=coordinates,
        title=title,
        command=command,
        settings=settings,
        notes=notes,
        timings=timings,
        seed=seed,
        description=description,
        versions=versions,
        labels=labels,
        images=images,
        row_names=row_names,
    )


def write_map_page(
    path: str | os.PathLike[str],
    template: str,
    *,
    coordinates: ArrayLike,
    settings: Mapping[str, Any],
    seed: int | None,
    versions: Mapping[str, str] | None,
    labels: ArrayLike | None,
    images: Images | None,
    row_names: Sequence[str] | None,
    **values: Any,
) -> None:
    """Write a page around one map, colored by the labels where there are any; ``values`` go to the template."""
    points = _checks.checked_coordinates(coordinates)
    n = len(points)
    names = None
    modes = [category_mode("All", ["all"], np.zeros(n, dtype=np.intp))]
    if labels is not None:
        names, codes = _checks.checked_categories(labels, "labels", n)
        modes = [category_mode("Label", names, codes)]
    nobody = np.zeros(0, dtype=np.intp)
    common = _common(points, modes, confidence=None, images=images, row_names=row_names, first=nobody, seed=seed or 0)
    page = render(
        template, **common, **values, labels=names, settings=_with_seed(settings, seed), versions=versions or {}
    )
    write_atomically(path, page)


def _common(
    points: NDArray[np.float64],
    modes: Sequence[Mode],
    *,
    confidence: NDArray[np.float64] | None,
    images: Images | None,
    row_names: Sequence[str] | None,
    first: NDArray[np.intp],
    seed: int,
) -> dict[str, Any]:
    """What all reports hand to their templates; where not every row can be shown, those of ``first`` are."""
    n = len(points)
    names = None
    if row_names is not None:
        _checks.check_length(row_names, "row_names", n)
        names = [str(name) for name in row_names]
    generator = np.random.default_rng(seed)
    order = np.concatenate([first, generator.permutation(np.setdiff1d(np.arange(n), first))])
    # shuffled: in the order of the file, the last class would cover all the others
    rows = generator.permutation(order[: max(MAX_POINTS, len(first))])
    thumbnails: Thumbnails | None = None
    if images is not None:
        _checks.check_length(images, "images", n)
        thumbnails = make_thumbnails(images, order=order, at_least=len(first))
    return {
        "n": n,
        "noun": "row" if images is None else "image",
        "drawn": len(rows),
        "thumbnails": thumbnails,
        "texts": {} if names is None else {row: clipped(names[row], 160) for row in first.tolist()},
        "map_data": map_data(
            points,
            modes=modes,
            confidence=confidence,
            names=names,
            thumbnails=thumbnails,
            rows=rows,
        ),
    }


def _with_seed(settings: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    return {**settings, **({} if seed is None else {"seed": seed})}


def _cluster_names(summaries: Sequence[ClusterSummary]) -> list[str]:
    return [
        str(cluster.index) if cluster.majority is None else f"{cluster.index} ≈ {clipped(cluster.majority[0], 24)}"
        for cluster in summaries
    ]


def _aligned_mode(
    title: str,
    categories: tuple[list[str], NDArray[np.intp]],
    clusters: NDArray[np.intp],
    colors: Sequence[str],
) -> Mode:
    names, codes = categories
    return category_mode(title, names, codes, aligned_colors(codes, len(names), clusters, colors))
