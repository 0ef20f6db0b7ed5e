"""Encoders trained on 4,000 pictures of CIFAR-10, in minutes and without a GPU, beside the same network untrained.

    python experiments/encoders.py --data cifar10-train.parquet --test cifar10-test.parquet
    python experiments/encoders.py ... --recipes SimCLR SupCon --seeds 0 1 2

The first 4,000 training pictures are learned from, the first 2,000 test pictures asked about; labels score, and only
SupCon learns from them. Every recipe runs with the library's defaults but for the network, its size, and what
``RECIPES`` says. Runs that are recorded are skipped; ``results/encoders.json`` keeps them, and ``figures/encoders/``
has a figure of each recipe: nearest-neighbor accuracy over the epochs, and a map of the test pictures' features.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from recording import figure, processor, recorded, save

from torchicon import TSNE
from torchicon.data import read_samples
from torchicon.training import Encoder, TrainConfig, evaluate_encoder, features_of, train
from torchicon.training.record import read_record
from torchicon.viz.palette import category_colors

HERE = Path(__file__).resolve().parent
COMMON: dict[str, Any] = {"mapper": "resnet10", "width": 16, "labels": "label", "evaluate_every": 10, "epochs": 30}
RECIPES: dict[str, dict[str, Any]] = {
    "SimCLR": {"epochs": 45},
    "SupCon": {},
    "MoCo v3": {},
    "Kernel-InfoNCE (sum of kernels)": {},
    "BALL+": {"epochs": 60, "batch_size": 64},  # one view a step, where the others have two; its batch may be small
    "CRLC": {},
    "CLIP": {"epochs": 60},  # lightness and colors of one view
}


def slices(data: Path, test: Path, folder: Path) -> tuple[Path, Path]:
    """The first pictures of both, each in a file of its own."""
    found = []
    for source, rows in ((data, 4000), (test, 2000)):
        place = folder / source.name
        pq.write_table(pq.read_table(source).slice(0, rows), place)
        found.append(place)
    return found[0], found[1]


def measure(recipe: str, seed: int, data: Path, test: Path, folder: Path) -> dict[str, Any]:
    """One training, scored before and after; timed as a user waits for it, evaluations and all."""
    settings = COMMON | RECIPES[recipe]
    config = TrainConfig.of(recipe, data=str(data), test=str(test), seed=seed, **settings)
    start = time.perf_counter()
    train(config, folder)
    minutes = (time.perf_counter() - start) / 60
    samples, asked = (read_samples(place, labels="label") for place in (data, test))
    encoder = Encoder.from_pretrained(folder)
    scores = evaluate_encoder(encoder, samples, asked, policy=config.view_policy())
    rows = read_record(folder / "evaluations.csv")
    features = features_of(encoder, asked)
    places = TSNE(random_state=0, verbose=False).fit_transform(features)
    return {
        "recipe": recipe,
        "seed": seed,
        "epochs": config.epochs,
        "minutes": minutes,
        "untrained": float(rows[0]["knn_accuracy"]),
        "trained": scores["knn_accuracy"],
        "linear": scores["linear_accuracy"],
        "curve": [[float(row["epoch"]), float(row["knn_accuracy"])] for row in rows],
        "date": datetime.now(UTC).date().isoformat(),
        "threads": config.threads,
        "config": {k: v for k, v in dataclasses.asdict(config).items() if v is not None and k not in ("data", "test")},
        "_places": places,
        "_labels": (asked.labels, asked.classes),
    }


def draw(runs: list[dict[str, Any]], last: dict[str, Any]) -> Any:
    """Accuracy over the epochs of every seed, and the map of the run that was just made."""
    drawing, (left, right) = figure(2)
    for run in runs:
        epochs, accuracy = np.array(run["curve"]).T
        left.plot(epochs, 100 * accuracy, marker="o", markersize=3, label=f"seed {run['seed']}")
    left.axhline(100 * runs[0]["untrained"], color="0.5", linestyle="--", linewidth=1, label="untrained")
    left.set(xlabel="epoch", ylabel="kNN accuracy on test, %", title=runs[0]["recipe"])
    left.legend(frameon=False, fontsize=8)
    labels, classes = last["_labels"]
    colors = np.array(category_colors(len(classes)))
    right.scatter(*last["_places"].T, s=3, c=colors[labels].tolist(), linewidths=0)
    right.set(title="features of the test pictures (t-SNE)", xticks=[], yticks=[])
    right.grid(False)
    return drawing


def main() -> None:
    """Run what is not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", type=Path, default=HERE)
    chosen = parser.parse_args()
    record = chosen.output / "results" / "encoders.json"
    content: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {"runs": []}
    done = {(run["recipe"], run["seed"]) for run in content["runs"]}
    with tempfile.TemporaryDirectory() as temporary:
        data, test = slices(chosen.data, chosen.test, Path(temporary))
        for seed in chosen.seeds:
            for recipe in chosen.recipes:
                if (recipe, seed) in done:
                    continue
                run = measure(recipe, seed, data, test, Path(temporary) / f"{recipe}-{seed}")
                print(
                    f"{recipe}, seed {seed}: kNN {run['untrained']:.1%} -> {run['trained']:.1%}, "
                    f"linear {run['linear']:.1%}, {run['minutes']:.1f} min",
                    flush=True,
                )
                content["runs"].append(recorded(run))
                content["machine"] = {"processor": processor(), "threads": torch.get_num_threads()}
                content["versions"] = {name: version(name) for name in ("torchicon", "torch", "lightning", "kornia")}
                content["versions"]["python"] = platform.python_version()
                record.parent.mkdir(parents=True, exist_ok=True)
                record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
                place = chosen.output / "figures" / "encoders" / f"{name_of(recipe)}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                save(draw([r for r in content["runs"] if r["recipe"] == recipe], run), place)


def name_of(recipe: str) -> str:
    """A recipe's name for files.

    >>> name_of("Kernel-InfoNCE (sum of kernels)")
    'kernel-infonce-sum-of-kernels'
    """
    return "-".join("".join(c if c.isalnum() else " " for c in recipe.replace("+", " plus")).lower().split())


if __name__ == "__main__":
    main()
