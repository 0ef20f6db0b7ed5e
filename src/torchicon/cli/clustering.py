"""From a table to a clustered and mapped folder: what `cluster` and `demo` have in common."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from torchicon._version import versions
from torchicon.cli import config, mapping
from torchicon.cli.run import Run
from torchicon.data import DataError, Table, write_json, write_parquet

Preset = Literal["default", "icon-paper"]

_DESCRIPTION = (
    "Without labels: each row's nearest neighbors say which rows belong together, small networks learn clusters that "
    "keep neighbors together, and plain K-Means is kept unless they agree on clearly better ones."
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks of a clustering, beside the data.

    Attributes:
        clusters: how many, c.
        seed: of everything random.
        preset: see `torchicon.estimators.Clustering`.
        with_map: make a t-SNE map, instead of showing two principal components.
        command: the command line, which the report shows.
        arguments: those of `torchicon cluster` that do the same, for config.json.
    """

    clusters: int
    seed: int
    preset: Preset
    with_map: bool
    command: str
    arguments: dict[str, Any]


def cluster_into(folder: Path, run: Run, table: Table, request: Request) -> dict[str, Any]:
    """Cluster, map and compare a table; write everything into an existing folder, and return the metrics.

    The labels of the table are compared with at the end, and never touch the clustering.

    Raises:
        DataError: fewer rows than clusters.
    """
    from torchicon.viz import write_cluster_report

    n = len(table.features)
    if n < request.clusters:
        raise DataError(
            f"has {n} row{'s' * (n != 1)}, too few for {request.clusters} clusters",
            table.source,
            f"Ask for at most {n} with -k." if n > 1 else "Give more rows.",
        )
    with run.step("clustering", own_bar=True):
        model = _estimator(request, verbose=run.lively).fit(table.features)
    with run.step("K-Means"):
        baseline = _k_means(model, table.features, request)
    coordinates: NDArray[np.floating[Any]]
    if request.with_map:
        coordinates = mapping.map_of(run, table, seed=request.seed)
    else:
        coordinates = mapping.principal_components(table.features)
        run.note("The map was left out (--no-map): the report shows the first two principal components.")
    with run.step("writing"):
        probabilities = model.predict_proba(table.features)
        metrics = _metrics(run, model, probabilities, baseline, table.labels)
        settings = config.settings(model)
        model.save_pretrained(folder / "model")
        write_parquet(folder / "assignments.parquet", _assignments(model, probabilities, table))
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "config.json", config.make("cluster", request.arguments, table, settings))
        write_cluster_report(
            folder / "report.html",
            coordinates=coordinates,
            clusters=model.labels_,
            probabilities=probabilities,
            title=f"{table.source.name} in {request.clusters} clusters",
            command=request.command,
            settings={"data": table.source.name, "labels": table.label_name, "preset": request.preset, **settings},
            notes=metrics["notes"],
            timings=metrics["seconds"],
            seed=request.seed,
            description=" ".join([_DESCRIPTION, *choices(model.notes_)]),
            versions=versions(*config.SOFTWARE),
            labels=table.labels,
            metrics=metrics.get("scores"),
            baseline={"name": "K-Means", "clusters": baseline},
            baseline_metrics=metrics["k_means"].get("scores"),
            images=table.images,
            row_names=table.row_names,
        )
    return metrics


def _estimator(request: Request, *, verbose: bool) -> Any:
    from torchicon.estimators import Clustering

    make = Clustering.icon_paper if request.preset == "icon-paper" else Clustering
    return make(request.clusters, random_state=request.seed, verbose=verbose)


def choices(notes: list[str]) -> list[str]:
    """The model's own word on what it chose, among its notes: for the head of the report, and the terminal."""
    return [note for note in notes if note.startswith("Chose")]


def _k_means(model: Any, features: NDArray[np.floating[Any]], request: Request) -> NDArray[np.int64]:
    """K-Means of the same features in the same scaling, (n,): what the clustering has to be better than."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    scaled = np.empty((len(features), model.projection_.shape[1]), dtype=np.float32)
    for rows in mapping.blocks(features):
        scaled[rows] = (features[rows].astype(np.float64) - model.center_) @ model.projection_
    k_means = KMeans(request.clusters, n_init=10, random_state=request.seed)
    with warnings.catch_warnings():  # of fewer distinct rows than clusters, which the clustering tells of itself
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(k_means.fit_predict(scaled), dtype=np.int64)


def _metrics(
    run: Run,
    model: Any,
    probabilities: NDArray[np.float32],
    baseline: NDArray[np.int64],
    labels: NDArray[Any] | None,
) -> dict[str, Any]:
    clusters = model.labels_
    n, c = probabilities.shape
    confidence = probabilities[np.arange(n), clusters]
    metrics: dict[str, Any] = {
        "rows": n,
        "clusters": c,
        "sizes": np.bincount(clusters, minlength=c).tolist(),
        "confidence": {"mean": float(confidence.mean()), "median": float(np.median(confidence))},
        "k_means": {"sizes": np.bincount(baseline, minlength=c).tolist()},
        "seconds": dict(run.timings),
        "notes": list(dict.fromkeys([*run.notes, *model.notes_])),
    }
    if labels is not None:
        from torchicon.evaluation import clustering_metrics

        metrics["scores"] = clustering_metrics(labels, clusters)
        metrics["k_means"]["scores"] = clustering_metrics(labels, baseline)
    return metrics


def _assignments(model: Any, probabilities: NDArray[np.float32], table: Table) -> dict[str, Any]:
    """The columns of assignments.parquet."""
    n = len(table.features)
    columns: dict[str, Any] = {
        "row": table.row_names,
        "cluster": model.labels_,
        "confidence": probabilities[np.arange(n), model.labels_],
    }
    if table.labels is not None:
        columns["label"] = table.labels
    return columns
