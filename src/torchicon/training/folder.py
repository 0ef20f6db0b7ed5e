"""The folder of a run: who may write to it, and what its config.json says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from torchicon._version import __version__, versions
from torchicon.data import DataError, write_json
from torchicon.data.samples import Samples
from torchicon.training.config import TrainConfig

CONFIG = "config.json"
WRITTEN = frozenset(
    {
        CONFIG, "metrics.csv", "evaluations.csv", "tensorboard", "checkpoints", "encoder.json", "encoder.safetensors",
        "scores.json", "figures", "report.html",
    }
)  # fmt: skip
_SOFTWARE = ("torch", "lightning", "kornia", "numpy", "transformers", "faiss-cpu")


def is_main() -> bool:
    """Whether this process is the one of its run that speaks and writes.

    Lightning knows its rank from the launcher's environment; where it launches the processes of several nodes itself,
    only NODE_RANK tells the nodes apart.
    """
    from lightning.pytorch.utilities import rank_zero_only  # seconds of importing, for those who only read a run

    return getattr(rank_zero_only, "rank", 0) == 0 and os.environ.get("NODE_RANK", "0") == "0"


def read_run(folder: str | Path) -> TrainConfig:
    """The config of a run's folder.

    Raises:
        DataError: it is no folder of a training.
    """
    path = Path(folder) / CONFIG
    if not path.exists():
        raise DataError(f"has no {CONFIG}", folder, "Give the folder of a `torchicon train`.")
    return TrainConfig.read(path)


def require_same(folder: Path, config: TrainConfig, samples: Samples) -> None:
    """Refuse to go on with another config or with other data.

    Raises:
        DataError: the folder is of another run.
    """
    before, now = read_run(folder).to_dict(), config.to_dict()
    different = sorted(name for name in now if now[name] != before[name])
    if different:
        raise DataError(
            f"was begun with other {', '.join(different)}", folder, "Resume it with its own config.json, or start anew."
        )
    recorded = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("data")
    if recorded != samples.fingerprint():
        raise DataError("was begun with other data", folder, f"{config.data} has changed: start anew.")


def write_config(folder: Path, config: TrainConfig, samples: Samples) -> None:
    """Write what the run was asked for, and on what data and software it runs."""
    content = {
        "torchicon": __version__,
        "command": "train",
        "arguments": config.to_dict(),
        "data": samples.fingerprint(),
        "skipped": samples.skipped,
        "versions": versions(*_SOFTWARE),
    }
    write_json(folder / CONFIG, content)


def make_folder(folder: Path) -> None:
    """Make the folder of a new run.

    Raises:
        DataError: there is something in it, or it cannot be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            "exists and is not empty", folder, "Name another folder, --resume an interrupted run, or --force a new one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made ({error.strerror})", folder, "Name a place that is yours.") from error


def remove_run(folder: Path) -> None:
    """Delete the folder of an earlier training, if it holds nothing else.

    Raises:
        DataError: it holds what torchicon did not write.
    """
    if not folder.exists():
        return
    read_run(folder)
    foreign = sorted(e.name for e in folder.iterdir() if e.name not in WRITTEN and not e.name.startswith("nonfinite-"))
    if foreign:
        raise DataError(f"holds what torchicon did not write ({foreign[0]})", folder, "Name another folder.")
    shutil.rmtree(folder)
