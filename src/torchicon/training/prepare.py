"""What a training needs before its first step: the data are read, and the encoder and its parts are built."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from torchicon.data import DataError
from torchicon.data.samples import Samples
from torchicon.mappers.backbone import TextBackbone
from torchicon.methods import find
from torchicon.training.config import TrainConfig
from torchicon.training.datamodule import IConDataModule
from torchicon.training.encoder import Encoder
from torchicon.training.features import as_input
from torchicon.training.module import IConModule, names_of
from torchicon.training.networks import is_pretrained, of_features
from torchicon.training.reading import data_of
from torchicon.training.step import seed_of

_STATISTICS = 5000  # samples that give the mean and the deviation of a channel


@dataclass(frozen=True)
class Prepared:
    """All that a training needs.

    Attributes:
        module: what is trained.
        data: batches of the samples to learn from.
        test: samples to be asked about, if given.
    """

    module: IConModule
    data: IConDataModule
    test: Samples | None


def prepare(config: TrainConfig, data: tuple[Samples, Samples | None] | None = None) -> Prepared:
    """Build what is trained on the data, which are read if they are not given.

    Raises:
        DataError: data, method and config do not fit together.
    """
    samples, test = data or data_of(config)
    batches = IConDataModule(samples, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, 0x1C0))
        text_encoder = _text_encoder(config, batches)
        encoder = build_encoder(config, samples, split=text_encoder is None)
        module = IConModule(
            config,
            encoder,
            text_encoder=text_encoder,
            n=len(samples),
            classes=len(samples.classes),
            columns=frozenset(batches.columns),
            graph=batches.graph,
            iterations=batches.iterations,
        )
    if samples.pixels is None and module.n_views > 1:
        warnings.warn(
            f"{samples.source} holds features, of which there are no views: all of a sample are alike, and "
            f"{config.method} learns from what the encoder itself draws, such as dropout.",
            stacklevel=2,
        )
    label = batches.columns.get("label")
    if label is not None and {"label", "prototypes"} <= module.names and bool((label < 0).any()):
        raise DataError(
            f"{config.method} learns from the label of every sample, and {int((label < 0).sum())} have none",
            config.data,
            "Leave those out, or train SupCon or 'CRLC, semi-supervised'.",
        )
    return Prepared(module, batches, test)


def build_encoder(config: TrainConfig, samples: Samples, *, split: bool) -> Encoder:
    """The encoder that a config names, for these samples, with the statistics of their channels.

    Args:
        config: of the run.
        samples: to learn from.
        split: for methods across modalities, take a picture's lightness and colors for them.
    """
    names = names_of(config.row(n=len(samples), iterations=1))
    recipe: dict[str, Any] = {"mapper": config.mapper, "width": config.width, "image_size": config.image_size}
    if samples.pixels is None:
        recipe |= {"n_in": samples.rows.shape[1]}
        if not of_features(config.mapper):
            raise DataError(
                f"holds features, which {config.mapper} does not take", samples.source, "Set mapper=mlp or linear."
            )
    elif split and names & {"text", "text_logits"}:
        recipe |= {"split": "lab"}
    if is_pretrained(config.mapper):
        return Encoder(recipe)  # a pretrained model knows its own statistics
    probe = Encoder(recipe)
    some = samples.draw(_STATISTICS).rows
    seen = probe.split(as_input(torch.from_numpy(np.ascontiguousarray(some))))
    over = (0, 2, 3) if seen.ndim == 4 else (0,)
    probe.mean.copy_(seen.mean(over).reshape(probe.mean.shape))
    probe.std.copy_(seen.std(over).reshape(probe.std.shape).clamp(min=1e-3))
    return probe


def _text_encoder(config: TrainConfig, data: IConDataModule) -> TextBackbone | None:
    """The encoder of the data's texts, whose tokens become columns; None where no text is asked for."""
    texts = data.samples.texts
    if texts is None or not names_of(find(config.method)) & {"text", "text_logits", "rewrites"}:
        return None
    if config.text_mapper is None:
        raise DataError("has texts but no encoder for them", "config", "Set text_mapper to a transformers text model.")
    encoder = TextBackbone(config.text_mapper)
    most = max(map(len, texts))
    flat = [text[i % len(text)] for text in texts for i in range(most)]  # those with fewer texts repeat them
    tokens = encoder.tokens(flat)
    data.columns["tokens"] = tokens["input_ids"].reshape(len(texts), most, -1)
    data.columns["tokens_mask"] = tokens["attention_mask"].reshape(len(texts), most, -1)
    return encoder
