"""A training from its config to a folder that a person can read and an encoder that can be used."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

from torchicon.data import DataError
from torchicon.data.samples import Samples
from torchicon.mappers import ClusterHeads
from torchicon.training.checkpoints import last_whole, saver
from torchicon.training.config import TrainConfig
from torchicon.training.evaluate import quick
from torchicon.training.folder import is_main, make_folder, require_same, write_config
from torchicon.training.module import IConModule
from torchicon.training.networks import is_ours
from torchicon.training.parts import Clusters
from torchicon.training.prepare import Prepared, prepare
from torchicon.training.recorder import Recorder
from torchicon.training.sync import synchronize

_QUICK = 5000  # samples that are looked at during training

Tell = Callable[[int, int, dict[str, float]], None]


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
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise DataError("there is no CUDA device here", "accelerator", "Set accelerator=auto.")
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


def fit(prepared: Prepared, folder: Path, *, start: int, checkpoint: Path | None, tell: Tell) -> None:
    """Run Lightning's trainer over what is prepared, from a step on, and save the encoder."""
    module = prepared.module
    config, samples = module.config, prepared.data.samples
    some = samples.draw(_QUICK)
    columns = ["effective_rank", *(["knn_accuracy"] if samples.labels is not None else [])]

    def evaluate(trained: IConModule) -> dict[str, float]:
        return quick(trained.encoder, some, prepared.test, trained.device)

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
        strategy=_strategy(ranks, own=not is_ours(config.mapper)),
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


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _strategy(ranks: int, *, own: bool) -> str | Strategy:
    if ranks == 1:
        return "auto"
    # Banks and statistics are the same on all ranks by what is gathered: nothing has to be sent for them. A network
    # that is not ours may have parts that features do not come through, such as a pooler.
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=own)


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
