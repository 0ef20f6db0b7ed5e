"""The data of a run, and where they are computed with: what scoring and taking features need beside an encoder."""

from __future__ import annotations

from typing import Any

import torch

from torchicon.data import DataError
from torchicon.data.samples import Samples, read_samples
from torchicon.training.config import TrainConfig


def data_of(config: TrainConfig) -> tuple[Samples, Samples | None]:
    """The samples that a run learns from, and those it is scored on, if there are any."""
    common: dict[str, Any] = {"size": config.image_size, "labels": config.labels}
    samples = read_samples(
        config.data,
        text=config.text,
        metadata=config.metadata,
        split=config.split,
        limit=config.limit,
        **common,
    )
    if config.test is None:
        return samples, None
    test = read_samples(config.test, split=config.test_split, **common)
    if samples.labels is not None and not set(samples.classes) & set(test.classes):
        raise DataError(
            f"has none of the classes of {config.data}: {_some(test.classes)} here, {_some(samples.classes)} there",
            config.test,
            "Give labeled samples of the same classes.",
        )
    return samples, test


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def device_of(accelerator: str = "auto") -> torch.device:
    """Where one process computes."""
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
