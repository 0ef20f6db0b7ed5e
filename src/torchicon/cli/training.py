"""From a config to a finished folder of a training run: what `train` does around the training itself."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table as Grid

from torchicon.cli import mapping
from torchicon.cli.run import Run
from torchicon.data import DataError, Samples, write_json
from torchicon.training import Encoder, TrainConfig
from torchicon.training.evaluate import thorough
from torchicon.training.features import features_of
from torchicon.training.folder import CONFIG, read_run
from torchicon.training.parsing import assignments
from torchicon.training.reading import device_of
from torchicon.training.record import read_record
from torchicon.viz.curves import curve_figure
from torchicon.viz.training import MEASURES, write_training_report

_MAPPED = 3000  # samples on the report's map


def asked(
    method: str | None, output: Path, given: dict[str, Any], assign: list[str], *, config: Path | None, resume: bool
) -> TrainConfig:
    """The config that a command line asks for.

    Raises:
        DataError: nothing says what to train, or what is said cannot be.
    """
    values = given | dict(assignments(assign))
    if resume:
        if method is not None or values or config is not None:
            raise DataError("takes nothing but -o DIR", "--resume", f"The run goes on as {output / CONFIG} says.")
        return read_run(output)
    if config is not None:
        return TrainConfig.read(config, **values, **({} if method is None else {"method": method}))
    if method is None:
        raise DataError(
            "there is no method", "torchicon train", "Name one, such as simclr; `torchicon methods` lists all."
        )
    return TrainConfig.of(method, **values)


@contextmanager
def bar(run: Run) -> Iterator[Callable[[int, int, dict[str, float]], None]]:
    """Progress on a terminal, and a line for every evaluation."""
    with Progress(console=run.console, transient=True, disable=not run.lively) as progress:
        task = progress.add_task("training", total=None)

        def tell(step: int, total: int, found: dict[str, float]) -> None:
            progress.update(task, completed=step, total=total)
            if "loss" in found:
                progress.update(task, description=f"training, loss {found['loss']:.4g}")
            elif found:
                said = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in found.items())
                run.print(f"step {step} of {total}: {said}")

        yield tell


def finish(
    run: Run, config: TrainConfig, folder: Path, samples: Samples, test: Samples | None, *, command: str
) -> None:
    """Score the encoder on the run's data, draw its curves and its map, and write the report."""
    torch.set_num_threads(1)  # what follows is small, and threads wait for each other where others work too
    with run.step("evaluating"):
        device = device_of(config.accelerator)
        encoder = Encoder.from_pretrained(folder).to(device)
        scores = thorough(encoder, samples, test, policy=config.view_policy(), seed=config.seed, device=device)
    write_json(folder / "scores.json", scores)
    evaluations = read_record(folder / "evaluations.csv")
    untrained = {
        name: float(value)
        for row in evaluations[:1]
        for name, value in row.items()
        if name not in ("step", "epoch") and value
    }
    run.print(score_table(scores, untrained))
    curves = {
        name: (np.array([int(row["step"]) for row in evaluations]), np.array([float(row[name]) for row in evaluations]))
        for name in untrained
    }
    metrics = read_record(folder / "metrics.csv")
    loss = (np.array([int(row["step"]) for row in metrics]), np.array([float(row["loss"]) for row in metrics]))
    shown = samples.draw(_MAPPED)
    features = features_of(encoder, shown, device=device)
    run.print("Drawing the map of the features ...")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a map of few rows
        places = mapping.fit_map(run, Path(config.data), features, perplexity=None, seed=config.seed).embedding_
    labels = None
    if shown.labels is not None:
        labels = np.array([*shown.classes, "unknown"])[shown.labels]
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    write_training_report(
        folder / "report.html",
        coordinates=places,
        title=f"{config.method} on {Path(config.data).name}",
        command=command,
        settings={name: value for name, value in config.to_dict().items() if value is not None and name != "settings"}
        | config.settings,
        notes=[*samples.notes, *run.notes],
        timings=run.timings,
        seed=config.seed,
        description=f"An encoder ({config.mapper}) trained by {config.method} for {config.epochs} epochs.",
        versions=content["versions"],
        labels=labels,
        images=None if shown.pixels is None else np.ascontiguousarray(shown.pixels.transpose(0, 2, 3, 1)),
        row_names=shown.names,
        loss=loss,
        evaluations=curves,
        scores=scores,
        untrained=untrained,
    )
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    if len(metrics) > 1:
        curve_figure({"loss": loss}, ylabel="loss (nats)", smooth=True).savefig(figures / "loss.png", dpi=150)
    for name, curve in curves.items():
        curve_figure({name: curve}, ylabel=name.replace("_", " "), smooth=False).savefig(
            figures / f"{name}.png", dpi=150
        )


def score_table(scores: dict[str, float], untrained: dict[str, float] | None = None) -> Grid:
    """Scores as the terminal shows them: shares in percent, and beside them those before the training."""
    grid = Grid("", "trained", *([] if untrained is None else ["untrained"]), box=SIMPLE_HEAD)
    for name, value in scores.items():
        measure = MEASURES.get(name)
        percent = measure is not None and measure.unit == "share"
        shown = [
            "" if number is None else f"{100 * number:.1f} %" if percent else f"{number:.4g}"
            for number in (value, *([] if untrained is None else [untrained.get(name)]))
        ]
        unit = f" ({measure.unit})" if measure is not None and measure.unit and not percent else ""
        grid.add_row(name.replace("_", " ") + unit, *shown)
    return grid
