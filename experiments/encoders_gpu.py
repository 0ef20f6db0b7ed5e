"""Encoders on a GPU: ResNet-18 on all of CIFAR-10 by SimCLR and by the sum of kernels, the same schedule for both.

    python experiments/encoders_gpu.py --data cifar10-train.parquet --test cifar10-test.parquet --epochs 200
    python experiments/encoders_gpu.py ... --dry-run                # 64 pictures on the CPU: does it run at all?

Labels only score: weighted kNN and the linear probe on the test pictures, before and after. Pictures per second are
samples, of which every step sees two views; the median over the steps that are written down, evaluations left out.
How busy the GPU was is what nvidia-smi said twice a second between the first and the last step. A run that was
interrupted goes on where it was, with the same ``--runs``. ``results/encoders_gpu.json`` keeps the numbers, with the
quality of the JPEGs that the data hold.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from recording import processor, recorded

from torchicon.training import Encoder, TrainConfig, evaluate_encoder, train
from torchicon.training.reading import data_of
from torchicon.training.record import read_record

HERE = Path(__file__).resolve().parent
RECIPES = ("SimCLR", "Kernel-InfoNCE (sum of kernels)")
_POLL = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0", "-lms", "500")


@dataclass
class Watch:
    """What nvidia-smi says while a training goes on, and when its steps were.

    Attributes:
        busy: (second, percent) of every answer.
        steps: second of every step that was written down.
    """

    busy: list[tuple[float, float]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)

    def tell(self, step: int, total: int, found: dict[str, float]) -> None:
        """Training's progress."""
        if "loss" in found:
            self.steps.append(time.monotonic())
        elif found:
            print(f"  step {step} of {total}: {found}", flush=True)

    def share(self) -> float | None:
        """The mean of the answers between the first and the last step, in [0, 1]; None without a GPU."""
        between = [percent for second, percent in self.busy if self.steps[0] <= second <= self.steps[-1]]
        return statistics.fmean(between) / 100 if between else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask nvidia-smi meanwhile, where there is one."""
        try:
            asked = subprocess.Popen(_POLL, stdout=subprocess.PIPE, text=True)
        except FileNotFoundError:
            yield
            return

        def listen() -> None:
            assert asked.stdout is not None
            for line in asked.stdout:
                with suppress(ValueError):  # "[N/A]" on some devices
                    self.busy.append((time.monotonic(), float(line)))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield
        finally:
            asked.terminate()
            asked.wait()
            listener.join()


def measure(recipe: str, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """One training, scored before and after."""
    config = TrainConfig.of(recipe, labels="label", evaluate_every=0, **settings)
    data, watch = data_of(config), Watch()
    torch.cuda.reset_peak_memory_stats() if torch.cuda.is_available() else None
    with watch.running():
        train(config, folder, data=data, resume=(folder / "config.json").exists(), tell=watch.tell)
    device = "cuda" if torch.cuda.is_available() and config.accelerator != "cpu" else "cpu"
    encoder = Encoder.from_pretrained(folder).to(device)
    scores = evaluate_encoder(encoder, *data, policy=config.view_policy(), device=device)
    speeds = [float(row["samples_per_second"]) for row in read_record(folder / "metrics.csv")]
    low, middle, high = np.percentile(speeds, [5, 50, 95])
    return {
        "recipe": recipe,
        "untrained": float(read_record(folder / "evaluations.csv")[0]["knn_accuracy"]),
        "trained": scores["knn_accuracy"],
        "linear": scores["linear_accuracy"],
        "samples per second": {"median": float(middle), "5 %": float(low), "95 %": float(high)},
        "busy": watch.share(),
        "peak GiB": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
        "config": {name: value for name, value in config.to_dict().items() if name not in ("data", "test")},
    }


def jpeg_quality(table: Path) -> int | None:
    """The quality that makes Pillow write the quantization of the file's first picture; None if none does."""
    first = pq.read_table(table, columns=["image"]).slice(0, 1)["image"][0].as_py()
    wanted = getattr(Image.open(io.BytesIO(first["bytes"])), "quantization", None)
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        if Image.open(file).quantization == wanted:  # type: ignore[attr-defined]
            return quality
    return None


def main() -> None:
    """Both recipes, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, help="where the runs are kept; nowhere when omitted")
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--dry-run", action="store_true")
    chosen = parser.parse_args()
    settings: dict[str, Any] = {
        "data": str(chosen.data), "test": str(chosen.test), "epochs": chosen.epochs, "batch_size": chosen.batch_size,
        "seed": chosen.seed, "mapper": "resnet18", "precision": "bf16",
    }  # fmt: skip
    if chosen.dry_run:
        settings |= {"limit": 64, "epochs": 1, "batch_size": 32, "width": 4, "accelerator": "cpu", "precision": "32"}
    elif not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --dry-run shows that the script runs")
    record: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else processor(),
        "jpeg quality": jpeg_quality(chosen.data),
        "versions": {name: version(name) for name in ("torchicon", "torch", "lightning", "kornia")}
        | {"python": platform.python_version()},
        "runs": [],
    }
    (chosen.output / "results").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for number, recipe in enumerate(RECIPES):
            print(recipe, flush=True)
            found = measure(recipe, (chosen.runs or Path(temporary)) / str(number), settings)
            print({name: value for name, value in found.items() if name != "config"}, flush=True)
            record["runs"].append(recorded(found))
            text = json.dumps(record, indent=1) + "\n"
            (chosen.output / "results" / "encoders_gpu.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
