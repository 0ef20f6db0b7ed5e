"""Checkpoints of a run: the last one that is whole."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from torchicon.data.errors import DataError

KEPT = 2  # the last, and one before it in case the last is damaged


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from.

    Attributes:
        path: of the file.
        step: that it was written after.
        damaged: notes on later ones that could not be read.
    """

    path: Path
    step: int
    damaged: list[str]


def saver(folder: Path, *, every: int) -> ModelCheckpoint:
    """Lightning's callback that writes a checkpoint after so many steps and keeps the last `KEPT`."""
    return ModelCheckpoint(
        dirpath=folder,
        filename="{step:08d}",
        monitor="step",
        mode="max",
        save_top_k=KEPT,
        every_n_train_steps=every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def last_whole(folder: Path) -> Found:
    """The latest checkpoint that can be read to its end.

    Raises:
        DataError: there is none.
    """
    damaged: list[str] = []
    for path in sorted(folder.glob("*.ckpt"), reverse=True):
        step = _read_step(path)
        if isinstance(step, int):
            return Found(path, step, damaged)
        damaged.append(f"{path.name} is cut short or damaged ({step}), so the checkpoint before it is used.")
    if damaged:
        raise DataError(f"holds no whole checkpoint: {damaged[0]}"[:300], folder, "Start the training anew.")
    raise DataError("holds no checkpoint yet", folder, "Start the training anew.")


def _read_step(path: Path) -> int | str:
    """The step of a checkpoint, or why it cannot be read. Every tensor is, and nothing else is unpickled."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
    missing = {"state_dict", "global_step", "optimizer_states"} - set(content)
    return f"it lacks {', '.join(sorted(missing))}" if missing else int(content["global_step"])
