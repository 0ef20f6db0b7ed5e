"""A training from its config to a folder that a person can read and an encoder that can be used."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

from torchicon.data import DataError
from torchicon.data.samples import Samples, read_samples
from torchicon.mappers import ClusterHeads
from torchicon.mappers.backbone import TextBackbone
from torchicon.methods import find
from torchicon.training.checkpoints import last_whole, saver
from torchicon.training.config import TrainConfig
from torchicon.training.datamodule import IConDataModule
from torchicon.training.encoder import Encoder
from torchicon.training.evaluate import quick
from torchicon.training.features import as_input
from torchicon.training.folder import is_main, make_folder, require_same, write_config
from torchicon.training.module import IConModule, names_of
from torchicon.training.networks import is_pretrained, of_features
from torchicon.training.parts import Clusters
from torchicon.training.record import Recorder
from torchicon.training.step import seed_of
from torchicon.training.sync import synchronize

_STATISTICS = 5000  # samples that give the mean and the deviation of a channel
_QUICK = 5000  # samples that are looked at during training

Tell = Callable[[int, int, dict[str, float]], None]


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


def train(
    config: TrainConfig,
    output: str | Path,
    *,
    data: tuple[Samples, Samples | None] | None = None,
    resume: bool = False,
    tell: Tell | None = None,
) -> Path:
    """Train an encoder and write everything into a folder: config.json, metrics.csv, evaluations.csv, checkpoints,
    TensorBoard's events, and in the end encoder.safetensors.

    Args:
        config: what to train.
        output: a folder that does not exist or is empty; with ``resume``, that of a run that was interrupted.
        data: what `data_of` reads for this config, for callers that have use for it too.
        resume: go on after the last whole checkpoint; the curve goes on as if nothing had happened.
        tell: is called with the step, the number of all steps, and what was measured.

    Returns:
        The folder.

    Raises:
        DataError: anything that keeps the run from being made, with the way out.
    """
    folder = Path(output)
    with _quiet(), _threads(config.threads):
        prepared = prepare(config, data)
        samples = prepared.data.samples
        start, checkpoint = 0, None
        if resume:
            require_same(folder, config, samples)
            found = last_whole(folder / "checkpoints") if any((folder / "checkpoints").glob("*.ckpt")) else None
            if found is not None:
                start, checkpoint = found.step, found.path
                for sentence in found.damaged:
                    warnings.warn(sentence, stacklevel=2)
        elif is_main():
            make_folder(folder)
            write_config(folder, config, samples)
        fit(prepared, folder, start=start, checkpoint=checkpoint, tell=tell or _nobody)
    return folder


def prepare(config: TrainConfig, data: tuple[Samples, Samples | None] | None = None) -> Prepared:
    """Build what is trained on the data, which are read if they are not given.

    Raises:
        DataError: data, method and config do not fit together.
    """
    samples, test = data or data_of(config)
    batches = IConDataModule(samples, config)
    with torch.random.fork_rng():
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
    return Prepared(module, batches, test)


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
    return samples, None if config.test is None else read_samples(config.test, split=config.test_split, **common)


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
    some = samples.rows[:: max(1, len(samples) // _STATISTICS)]
    seen = probe.split(as_input(torch.from_numpy(np.ascontiguousarray(some))))
    over = (0, 2, 3) if seen.ndim == 4 else (0,)
    probe.mean.copy_(seen.mean(over).reshape(probe.mean.shape))
    probe.std.copy_(seen.std(over).reshape(probe.std.shape).clamp(min=1e-3))
    return probe


def fit(prepared: Prepared, folder: Path, *, start: int, checkpoint: Path | None, tell: Tell) -> None:
    """Run Lightning's trainer over what is prepared, from a step on, and save the encoder."""
    module = prepared.module
    config, samples = module.config, prepared.data.samples
    some = samples.take(slice(_QUICK))
    columns = ["effective_rank", *(["knn_accuracy"] if samples.labels is not None else [])]

    def evaluate(trained: IConModule) -> dict[str, float]:
        return quick(trained.encoder, some, prepared.test, trained.device)

    if module.iterations == 0:
        save(module, folder)
        return
    ranks = config.devices * config.nodes
    callbacks: list[pl.Callback] = [
        saver(folder / "checkpoints", every=config.checkpoint_every or module.steps_per_epoch)
    ]
    if is_main():
        callbacks.insert(0, Recorder(folder, evaluate, columns=columns, start=start, tell=tell))
    if ranks > 1:
        synchronize(module)
    trainer = pl.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=_strategy(ranks),
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_steps=module.iterations,
        max_epochs=1,
        gradient_clip_val=config.clip,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=prepared.data, ckpt_path=checkpoint, weights_only=True)
    if is_main():
        save(module, folder)


def save(module: IConModule, folder: Path) -> None:
    """Write the encoder and its cluster heads."""
    encoder = module.encoder
    for part in module.parts.values():
        if isinstance(part, Clusters):
            heads = part.heads[0]
            assert isinstance(heads, ClusterHeads)
            encoder.clusters = heads
            encoder.recipe["clusters"] = {"heads": len(heads.heads), "n_clusters": heads.n_clusters}
    encoder.save_pretrained(folder)


def device_of(accelerator: str = "auto") -> torch.device:
    """Where one process computes."""
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def _strategy(ranks: int) -> str | Strategy:
    # banks and statistics are the same on all ranks by what is gathered: nothing has to be sent for them
    return DDPStrategy(broadcast_buffers=False) if ranks > 1 else "auto"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remarks on what is meant to be so, and its advertisements."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for text in (
            "does not have many workers",
            "The number of training batches",
            "isinstance.treespec",
            "Checkpoint directory",
            "resuming from",
            "broadcast_buffers",
        ):
            warnings.filterwarnings("ignore", message=f".*{text}.*")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _nobody(step: int, total: int, found: dict[str, float]) -> None:
    """Is told and does nothing."""
