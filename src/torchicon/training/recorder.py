"""What a run writes down while it runs: metrics.csv, evaluations.csv and TensorBoard's events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, final

import lightning.pytorch as pl
from safetensors.torch import save_file
from torch.utils.tensorboard import SummaryWriter

from torchicon.data import write_json
from torchicon.training.module import IConModule, NonFiniteLoss
from torchicon.training.record import Record
from torchicon.training.step import Batch

_ROWS = 100  # of a short run: it is written down more often than ``log_every`` says
METRICS = ("step", "epoch", "loss", "lr", "samples_per_second")


@final
class Recorder(pl.Callback):
    """Writes the loss of every ``log_every``-th step, and evaluates before, during and after the training.

    Args:
        folder: of the run.
        evaluate: gives what is worth knowing about the encoder.
        columns: names of what that gives.
        start: the step that a resumed run goes on from.
        tell: is told about every evaluation, and about the training's progress.
    """

    def __init__(
        self,
        folder: Path,
        evaluate: Callable[[IConModule], dict[str, float]],
        *,
        columns: Iterable[str],
        start: int,
        tell: Callable[[int, int, dict[str, float]], None],
    ) -> None:
        self.folder, self.evaluate, self.tell, self.start = folder, evaluate, tell, start
        self.metrics = Record(folder / "metrics.csv", METRICS, step=start)
        self.evaluations = Record(folder / "evaluations.csv", ("step", "epoch", *columns), step=start)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
        self._since, self._seen = time.perf_counter(), 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The encoder as it is before it learns anything."""
        assert isinstance(module, IConModule)
        if self.start == 0:
            self._evaluate(module, 0)
        self._since, self._seen = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """A row of metrics.csv, and between epochs an evaluation."""
        assert isinstance(module, IConModule)
        config, step = module.config, batch.iteration + 1
        self._seen += len(batch.index) * trainer.world_size
        often = min(config.log_every, max(1, module.iterations // _ROWS))
        if step % often == 0 or step == module.iterations:
            speed = self._seen / (time.perf_counter() - self._since)
            epoch = step / module.steps_per_epoch
            loss = float(outputs["loss"])  # written in digits that give it back exactly
            row = {"step": step, "epoch": round(epoch, 4), "loss": loss, "lr": module.lr}
            self.metrics.add({**row, "samples_per_second": round(speed, 1)})
            self.board.add_scalar("loss", loss, step)
            self.board.add_scalar("lr", module.lr, step)
            self.tell(step, module.iterations, {"loss": loss})
            self._since, self._seen = time.perf_counter(), 0
        every = config.evaluate_every * module.steps_per_epoch
        if step == module.iterations or (every and step % every == 0):
            self._evaluate(module, step)
            self._since, self._seen = time.perf_counter(), 0

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: BaseException) -> None:
        """A loss that is not finite leaves its batch behind, to be looked at."""
        if isinstance(error, NonFiniteLoss):
            assert isinstance(module, IConModule)
            self._dump(module, error)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Close the events."""
        self.board.close()

    def _evaluate(self, module: IConModule, step: int) -> None:
        found = self.evaluate(module)
        self.evaluations.add({"step": step, "epoch": round(step / module.steps_per_epoch, 4), **found})
        for name, value in found.items():
            self.board.add_scalar(name, value, step)
        self.tell(step, module.iterations, found)

    def _dump(self, module: IConModule, error: NonFiniteLoss) -> None:
        batch = error.batch
        folder = self.folder / f"nonfinite-step-{batch.iteration + 1}"
        folder.mkdir(exist_ok=True)
        tensors = {"samples": batch.samples, "index": batch.index, **batch.columns}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / "batch.safetensors")
        state = {name: tensor.cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
        save_file(state, folder / "module.safetensors")
        content = {"step": batch.iteration + 1, "loss": str(float(error.loss)), "samples": batch.index.tolist()}
        write_json(folder / "step.json", content)
