"""The report of a training run: a map of the features, curves, scores before and after, and how to run it again."""

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from torchicon.viz.curves import Curve, checked_curve, curve_figure, running_median
from torchicon.viz.reports import write_map_page
from torchicon.viz.thumbnails import Images

_INKS = {"light": "#5c636e", "dark": "#a0a7b2"}  # muted text on the page, tokens.css
_DPI = 200


@dataclass(frozen=True)
class Measure:
    """How a score is shown.

    Attributes:
        title: in plain words.
        good: one sentence or two on what is good.
        unit: a share is shown in percent.
        higher_is_better: whatever the other measures say; where it is not, neither of two values wins.
    """

    title: str
    good: str
    unit: Literal["share", "nats", ""]
    higher_is_better: bool


MEASURES = {
    "knn_accuracy": Measure(
        "Accuracy of nearest neighbors (kNN)",
        "Test samples whose label wins the vote of their nearest training samples. Higher is better.",
        "share",
        True,
    ),
    "nearest_neighbor_accuracy": Measure(
        "Accuracy of the one nearest neighbor",
        "Test samples whose nearest training sample has the same label. Higher is better.",
        "share",
        True,
    ),
    "logistic_accuracy": Measure(
        "Accuracy of logistic regression",
        "Test samples that a logistic regression on the frozen features labels rightly. Higher is better.",
        "share",
        True,
    ),
    "linear_accuracy": Measure(
        "Accuracy of a linear classifier",
        "The same for a linear layer trained by SGD, the protocol of most papers. Higher is better.",
        "share",
        True,
    ),
    "cluster_accuracy": Measure(
        "Accuracy of the clusters",
        "Samples on which clusters and labels agree, matched one to one. Higher is better.",
        "share",
        True,
    ),
    "nmi": Measure(
        "Mutual information of clusters and labels (NMI)",
        "100% when they are the same grouping, 0% when one says nothing of the other. Higher is better.",
        "share",
        True,
    ),
    "ari": Measure(
        "Agreement of clusters and labels (ARI)",
        "Counted over pairs of samples: 100% when they are the same grouping, about 0% by chance. Higher is better.",
        "share",
        True,
    ),
    "alignment": Measure(
        "Distance between two views (alignment)",
        "Mean squared distance on the unit sphere, from 0 (same) to 4 (opposite). Low is good while others spread.",
        "",
        False,
    ),
    "uniformity": Measure(
        "Spread over the sphere (uniformity)",
        "Near 0 all samples have the same features; lower, they spread. Low is good while views stay together.",
        "",
        False,
    ),
    "effective_rank": Measure(
        "Directions in use (effective rank)",
        "From 1, where the features have collapsed, to their number. Higher means that more of them say something.",
        "",
        False,
    ),
    "infonce_bound": Measure(
        "Information shared by two views, at least",
        "The InfoNCE bound. Higher is better, up to the ceiling.",
        "nats",
        True,
    ),
    "infonce_ceiling": Measure(
        "Ceiling of that bound",
        "The logarithm of the number of samples compared, which the bound cannot pass.",
        "nats",
        False,
    ),
    "saturated_share": Measure(
        "Samples certain of their cluster",
        "Nearly all of their probability is on one cluster. If all are, it no longer tells sure from unsure.",
        "share",
        False,
    ),
}


@dataclass(frozen=True)
class _Score:
    measure: Measure
    trained: float | None
    untrained: float | None

    @property
    def winner(self) -> Literal["trained", "untrained"] | None:
        """Whose value is the better one, where that can be said."""
        if self.trained is None or self.untrained is None or self.trained == self.untrained:
            return None
        if not self.measure.higher_is_better:
            return None
        return "trained" if self.trained > self.untrained else "untrained"


@dataclass(frozen=True)
class _Picture:
    title: str
    caption: str
    alt: str
    light: str
    dark: str


def write_training_report(
    path: str | os.PathLike[str],
    *,
    coordinates: ArrayLike,
    title: str,
    command: str,
    settings: Mapping[str, Any],
    notes: Sequence[str],
    timings: Mapping[str, float],
    loss: tuple[ArrayLike, ArrayLike],
    evaluations: Mapping[str, tuple[ArrayLike, ArrayLike]],
    scores: Mapping[str, float],
    untrained: Mapping[str, float] | None = None,
    seed: int | None = None,
    description: str = "",
    versions: Mapping[str, str] | None = None,
    labels: ArrayLike | None = None,
    images: Images | None = None,
    row_names: Sequence[str] | None = None,
) -> None:
    """Write a report on a training run: a map of the features, curves, scores, and how to run it again.

    The arguments are those of `write_cluster_report`, and these:

    Args:
        loss: steps (t,), increasing, and the loss at each, (t,).
        evaluations: measures made during training, each as steps and values; they may be none.
        scores: measures of the trained encoder. Those of `MEASURES` are explained, others shown as they are.
        untrained: the same measures of the encoder before training, all or some of them.

    Raises:
        ValueError: shapes or lengths do not fit together, a loss, measure or score is not finite, or an image cannot
            be decoded.
        OSError: the file cannot be written.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "report.html")
    >>> write_training_report(path, coordinates=[[0.0, 1.0], [2.0, 0.5]], title="Two points", command="torchicon train",
    ...     settings={"epochs": 1}, notes=[], timings={"training": 0.1}, loss=([1, 2], [0.7, 0.6]), evaluations={},
    ...     scores={"knn_accuracy": 0.75}, untrained={"knn_accuracy": 0.5})
    >>> "75.0%" in path.read_text(encoding="utf-8")
    True
    """
    steps, losses = checked_curve("loss", *loss)
    table = _table(scores, untrained or {})
    curves = {name: checked_curve(f"evaluations[{name!r}]", *curve) for name, curve in evaluations.items()}
    write_map_page(
        path,
        "training.html",
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
        last_step=int(steps[-1]),
        last_loss=float(running_median(steps, losses)[1][-1]),
        pictures=[_loss_picture((steps, losses)), *_evaluation_pictures(curves)],
        scores=table,
    )


def _table(trained: Mapping[str, float], untrained: Mapping[str, float]) -> list[_Score]:
    """Known measures in the order of `MEASURES`, then the others."""
    for which, values in (("scores", trained), ("untrained", untrained)):
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"{which} must be finite, but {name} is {value}. Leave out what was not measured.")
    given = {**trained, **untrained}
    names = [*(name for name in MEASURES if name in given), *(name for name in given if name not in MEASURES)]
    return [_Score(_measure(name), trained.get(name), untrained.get(name)) for name in names]


def _measure(name: str) -> Measure:
    return MEASURES.get(name) or Measure(name, "", "", False)


def _loss_picture(loss: Curve) -> _Picture:
    caption = "Every recorded step, light, and their running median."
    return _picture("Loss", {"loss": loss}, caption=caption if len(loss[0]) >= 50 else "", smooth=True)


def _evaluation_pictures(curves: Mapping[str, Curve]) -> list[_Picture]:
    """The accuracies in one picture, and one for each other measure: they have no scale in common."""
    accuracies = [name for name in MEASURES if name.endswith("_accuracy") and name in curves]
    groups = [accuracies] if accuracies else []
    groups += [[name] for name in curves if name not in accuracies]
    pictures = []
    for names in groups:
        measures = [_measure(name) for name in names]
        unit = measures[0].unit
        scale = 100 if unit == "share" else 1
        drawn = {
            measure.title: (curves[name][0], curves[name][1] * scale)
            for name, measure in zip(names, measures, strict=True)
        }
        title, caption = (measures[0].title, measures[0].good) if len(names) == 1 else ("Accuracies", "")
        ylabel = "percent" if unit == "share" else unit
        pictures.append(_picture(title, drawn, caption=caption, smooth=False, ylabel=ylabel))
    return pictures


def _picture(title: str, curves: Mapping[str, Curve], *, caption: str, smooth: bool, ylabel: str = "") -> _Picture:
    ends = []
    for name, curve in curves.items():
        steps, values = running_median(*curve) if smooth else curve
        first, last = (f"{values[i]:.4g} {ylabel}".strip() + f" at step {steps[i]:,.0f}" for i in (0, -1))
        ends.append(f"{name}: {first}, {last}")
    light, dark = (_data_uri(curves, smooth=smooth, ylabel=ylabel, ink=ink) for ink in _INKS.values())
    return _Picture(title, caption, f"Curve of {'; '.join(ends)}.", light, dark)


def _data_uri(curves: Mapping[str, Curve], *, smooth: bool, ylabel: str, ink: str) -> str:
    figure = curve_figure(curves, ylabel=ylabel, smooth=smooth, ink=ink)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, transparent=True, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
