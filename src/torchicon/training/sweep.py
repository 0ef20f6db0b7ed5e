"""Searching the settings of a method: trials of Ray Tune, of which the poor ones are stopped early."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from torchicon.data import DataError, write_json
from torchicon.data.errors import suggest
from torchicon.training.config import TrainConfig, method_of
from torchicon.training.run import train

# Over what is searched when nothing is said: (low, high, logarithmic). What Tan et al. (2024, table 3) search: the
# learning rate, the temperatures and the share of one loss; in ranges of our own.
SPACE: Mapping[str, tuple[float, float, bool]] = MappingProxyType(
    {
        "lr": (0.03, 3.0, True),
        "temperature": (0.05, 1.0, True),
        "tau_1": (0.05, 1.0, True),
        "tau_2": (0.05, 1.0, True),
        "share": (0.0, 1.0, False),
    }
)
RANK = "effective_rank"  # chooses without labels (Garrido et al. 2023)


def space_of(method: str, given: Mapping[str, str]) -> dict[str, tuple[float, float, bool]]:
    """The ranges to search: `SPACE` as far as the method has such settings, and what is given as LOW:HIGH.

    A range whose ends are positive and ten times apart is searched logarithmically.

    Raises:
        DataError: a range that is none, or of something that is no number.

    >>> space_of("SimCLR", {"lr": "0.1:0.5"})
    {'lr': (0.1, 0.5, False), 'temperature': (0.05, 1.0, True)}
    """
    row = method_of(method)
    numbers = {part.name for part in dataclasses.fields(TrainConfig) if part.type in ("float", "float | None")}
    known = numbers | {name for name, value in row.settings.items() if isinstance(value, float)}
    found = {name: span for name, span in SPACE.items() if name in known and (name == "lr" or name in row.settings)}
    for name, text in given.items():
        if name not in known:
            raise DataError(f"{name!r} cannot be searched", "--search", suggest(name, sorted(known)))
        low, _, high = text.partition(":")
        try:
            span = (float(low), float(high))
        except ValueError as error:
            raise DataError(f"{name}={text} is no range", "--search", "Write KEY=LOW:HIGH.") from error
        if not span[0] < span[1]:
            raise DataError(f"{name}={text} is no range", "--search", "The first number is the smaller one.")
        found[name] = (*span, span[0] > 0 and span[1] >= 10 * span[0])
    return found


def sweep(
    config: TrainConfig,
    output: Path,
    *,
    space: Mapping[str, tuple[float, float, bool]],
    trials: int,
    metric: str = RANK,
    address: str | None = None,
) -> list[dict[str, Any]]:
    """Train with settings drawn from a space, stop those that fall behind (ASHA), and write down what came out.

    Args:
        config: of all trials, but for what is searched.
        output: an empty folder, which gets trials/ with a run of each, sweep.json, and best.json, a config.
        space: low, high and whether logarithmic, by name.
        trials: how many.
        metric: of evaluations.csv, to be as large as possible. The default needs no labels; with knn_accuracy labels
            choose, and a method that learned without them is no longer unsupervised.
        address: of a Ray cluster; a local one when omitted.

    Returns:
        A row for each trial: its settings, the metric at its end, and its steps; the best first.

    Raises:
        DataError: Ray is not installed, the folder is not empty, or no trial came to an end.
    """
    try:
        import ray
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search import BasicVariantGenerator
    except ModuleNotFoundError as error:
        raise DataError("needs Ray", "torchicon sweep", "Install it with: pip install 'torchicon[sweep]'.") from error
    if metric not in (RANK, "knn_accuracy") or (metric != RANK and config.labels is None):
        raise DataError(
            f"nothing is measured by the name of {metric!r}", "--metric", f"Take {RANK}, or with labels knn_accuracy."
        )
    if output.exists() and any(output.iterdir()):
        raise DataError("exists and is not empty", output, "Name another folder.")
    (output / "trials").mkdir(parents=True, exist_ok=True)
    place = output.resolve()
    arguments = config.to_dict()
    for name in ("data", "test", "mapper", "text_mapper"):  # Ray's workers run in folders of their own
        if arguments[name] is not None and Path(arguments[name]).exists():
            arguments[name] = str(Path(arguments[name]).resolve())

    def trial(drawn: dict[str, float]) -> None:
        name = tune.get_context().get_trial_id()
        asked = TrainConfig.of(**arguments | drawn)

        def tell(step: int, total: int, found: dict[str, float]) -> None:
            if step > 0 and metric in found:  # untrained, all trials are alike
                tune.report({metric: found[metric], "step": step})

        train(asked, place / "trials" / name, tell=tell)

    # Ray's own notes are for its developers; its workers find the package as this process does.
    ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        draws = {
            name: tune.loguniform(low, high) if logarithmic else tune.uniform(low, high)
            for name, (low, high, logarithmic) in space.items()
        }
        gpus = 1 if config.accelerator != "cpu" and torch.cuda.is_available() else 0
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": min(config.threads, os.cpu_count() or 1), "gpu": gpus}),
            param_space=draws,
            tune_config=tune.TuneConfig(
                search_alg=BasicVariantGenerator(random_state=config.seed),
                metric=metric,
                mode="max",
                num_samples=trials,
                scheduler=ASHAScheduler(max_t=2 + config.epochs // (config.evaluate_every or 1), reduction_factor=3),
            ),
            run_config=tune.RunConfig(storage_path=str(place / "ray"), name="sweep", verbose=0),
        )
        results = list(tuner.fit())
    finally:
        ray.shutdown()
    rows = [
        {**result.config, metric: result.metrics[metric], "step": result.metrics["step"]}
        for result in results
        if result.error is None and result.metrics and metric in result.metrics
    ]
    if not rows:
        raise DataError("no trial came to an end", output, f"The first said: {results[0].error}")
    rows.sort(key=lambda row: -float(row[metric]))
    best = {name: rows[0][name] for name in space}
    write_json(output / "sweep.json", {"metric": metric, "space": dict(space), "trials": rows})
    write_json(output / "best.json", TrainConfig.of(**arguments | best).to_dict())
    return rows
