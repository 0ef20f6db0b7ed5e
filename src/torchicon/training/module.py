"""Any row of the periodic table that an encoder can be trained by, as a LightningModule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from torchicon.data.errors import DataError
from torchicon.data.views import part as part_drawn
from torchicon.mappers.backbone import TextBackbone
from torchicon.methods import Method
from torchicon.methods.method import asked_by
from torchicon.training.config import TrainConfig
from torchicon.training.encoder import Encoder
from torchicon.training.features import as_input
from torchicon.training.memory import Banks, CloseSets, Keys, Teacher
from torchicon.training.optimizers import make_optimizer, make_schedule
from torchicon.training.parts import Clock, Clusters, Facts, Given, Part, Projection, Prototypes, Scale, Second, Weights
from torchicon.training.step import Batch, Step, Stream, generator_of, rank, seed_of, world_size

# Which part makes a tensor. A part is built once, whatever it makes, and the later ones may look at the earlier.
PARTS: Mapping[type[Part], tuple[str, ...]] = {
    Given: ("image", "index", "label", "caption", "x"),
    Weights: ("weight",),
    Clock: ("iteration", "seed", "sampled"),
    Projection: ("z",),
    Second: ("text", "rewrites", "drawn"),
    Clusters: ("logits", "subheads", "text_logits"),
    Prototypes: ("prototypes", "bias"),
    Scale: ("log_scale",),
    Banks: ("bank", "text_bank"),
    CloseSets: ("cluster", "text_cluster"),
    Keys: ("queue",),
    Teacher: ("teacher", "center"),
}
_PROVIDED = {name: kind for kind, names in PARTS.items() for name in names}
_BOTH_MODALITIES = frozenset({"text", "text_logits", "rewrites"})
_ONE_VIEW = frozenset({"index", "x", "caption", "prototypes", "weight"})  # what stands for a sample beside its views


class NonFiniteLoss(DataError):
    """The loss became infinite or not a number; its batch and the step are kept."""

    def __init__(self, batch: Batch, loss: Tensor) -> None:
        first = ", ".join(map(str, batch.index[:8].tolist()))
        super().__init__(
            f"the loss of step {batch.iteration + 1} is {float(loss)}, on samples {first}, ...",
            "training",
            "The batch and the weights are kept in the run's folder. Lower lr, give clip=1, or look at these samples.",
        )
        self.batch, self.loss = batch, loss


@final
class IConModule(pl.LightningModule):
    r"""Train an encoder by a row of the periodic table: $\sum_i w_i \mathrm{KL}(p_i \| q_i)$ in every step.

    Args:
        config: of the run.
        encoder: from samples to features.
        text_encoder: from tokens to features, for data with texts.
        n: samples of the data.
        classes: number of known classes, 0 without labels.
        columns: what is known of each sample: label, metadata.
        graph: a symmetric one between the samples, by its rows: indptr (n + 1,), neighbors (m,) and weights (m,).
        iterations: steps of the whole training.

    Attributes:
        row: the method, with the config's settings.
        names: of the tensors that its neighborhoods ask for.
        encoder: what is trained.
        lr: learning rate of the last step.

    Raises:
        DataError: the method asks for what the data or training do not provide.
    """

    def __init__(
        self,
        config: TrainConfig,
        encoder: Encoder,
        *,
        text_encoder: TextBackbone | None = None,
        n: int,
        classes: int = 0,
        columns: frozenset[str] = frozenset(),
        graph: tuple[Tensor, Tensor, Tensor] | None = None,
        iterations: int,
    ) -> None:
        super().__init__()
        self.config, self.encoder, self.text_encoder, self.iterations = config, encoder, text_encoder, iterations
        self.row = config.row(n=n, iterations=iterations)
        self.names = names_of(self.row)
        facts = Facts(
            names=self.names,
            config=config,
            encoder=encoder,
            sizes=tuple(encoder.sizes) + (() if text_encoder is None else (text_encoder.n_features,)),
            n=n,
            classes=classes,
            iterations=iterations,
            columns=columns,
            views=views_of(self.names),
            graph=graph,
        )
        self.n_views = facts.views
        self.parts = nn.ModuleDict(_built(facts))
        self._encode: Callable[[Tensor], list[Tensor]] = (
            torch.compile(encoder.parts) if config.compile else encoder.parts
        )
        if config.frozen:
            encoder.requires_grad_(False)
        self._step: Step | None = None
        self.lr = 0.0
        self.train()  # a pretrained network comes in evaluation mode, and Lightning leaves modes as they are

    def part_of(self, name: str) -> Part:
        """What makes the tensor of that name."""
        part = self.parts[_PROVIDED[name].__name__]
        assert isinstance(part, Part)
        return part

    def encode(self, step: Step) -> list[Tensor]:
        """Features (v b, ...) of each part of the encoder, and of the texts."""
        samples = torch.cat(step.views)
        if self.config.frozen:
            with torch.no_grad():
                features = self.encoder.eval().parts(samples)
        else:
            features = self._encode(samples)
        if self.text_encoder is None:
            return features
        ids, mask = step.batch.columns["tokens"], step.batch.columns["tokens_mask"]  # (b, r, length)
        draw = torch.randint(ids.shape[1], (len(ids) * world_size(),), generator=step.generator(Stream.TEXT))
        rows = torch.arange(len(ids), device=ids.device)
        drawn = draw[self._mine(len(ids))].to(ids.device)
        return [*features, self.text_encoder(ids[rows, drawn], mask[rows, drawn])]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss of the whole batch, on every rank."""
        with self._seeded(batch.iteration):
            step = Step(self, batch, self._views(batch))
            try:
                loss = self.row.loss(step)
            except ValueError as error:
                if step.is_finite():
                    raise
                raise NonFiniteLoss(batch, torch.tensor(torch.nan)) from error
        if not torch.isfinite(loss.detach()):
            raise NonFiniteLoss(batch, loss.detach())
        if not loss.requires_grad:
            raise DataError(f"{self.row.name} has no gradient to learn by", "method", "Take one that has.")
        self._step = step
        return loss

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """The optimizer's step, and after it memories follow: before anything is saved."""
        self.lr = float(optimizer.param_groups[0]["lr"])
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self._step is None:
            return  # a step that the precision's scaler has skipped
        for part in self._all_parts():
            part.after(self._step)
        self._step = None

    def on_train_batch_start(self, batch: Batch, _: int) -> None:
        """Find close sets anew at the beginning of an epoch."""
        steps = self.steps_per_epoch
        if batch.iteration % steps == 0:
            for part in self._all_parts():
                part.each_epoch(batch.iteration // steps)

    @property
    def steps_per_epoch(self) -> int:
        """Of the whole training's."""
        return max(1, self.iterations // max(1, self.config.epochs))

    def configure_optimizers(self) -> Any:
        """The config's optimizer and schedule."""
        optimizer = make_optimizer(self, self.config)
        schedule = make_schedule(optimizer, self.config, self.iterations)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def _views(self, batch: Batch) -> list[Tensor]:
        """Views of this rank's pictures, by what was drawn for the whole batch."""
        samples = as_input(batch.samples)
        if batch.samples.dtype != torch.uint8:
            return [samples] * self.n_views
        policy, share = self.config.view_policy(), len(samples)
        mine = self._mine(share)
        generator = generator_of(self.config.seed, batch.iteration, Stream.VIEWS)
        views = []
        with torch.autocast(samples.device.type, enabled=False):  # half precision has no places between pixels
            for number in range(self.n_views):
                view = policy[number % len(policy)]
                views.append(view.apply(samples, part_drawn(view.draw(share * world_size(), generator), mine)))
        return views

    @staticmethod
    def _mine(share: int) -> slice:
        """This rank's rows of the whole batch."""
        return slice(rank() * share, (rank() + 1) * share)

    def _all_parts(self) -> list[Part]:
        return [part for part in self.parts.values() if isinstance(part, Part)]

    @contextlib.contextmanager
    def _seeded(self, iteration: int) -> Iterator[None]:
        """Dropout and whatever else draws from torch's own generator does so by the step's number."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed_of(self.config.seed, iteration, Stream.NETWORK + rank()))
            yield


def names_of(row: Method) -> frozenset[str]:
    """The tensors that a row's neighborhoods and weights ask for.

    >>> from torchicon import find
    >>> sorted(names_of(find("BALL+")))
    ['bank', 'index', 'iteration', 'z']
    """
    sides = [getattr(term, side) for term in row.terms for side in ("p", "q", "weights")]
    return frozenset(name for side in sides if callable(side) for name in asked_by(side))


def views_of(names: frozenset[str]) -> int:
    """Views of each sample: two where the views of a picture are the positives, else one."""
    if "image" in names or "teacher" in names:
        return 1 if "x" in names else 2
    if names & _BOTH_MODALITIES or names & _ONE_VIEW:
        return 1
    return 2


def _built(facts: Facts) -> dict[str, Part]:
    """The parts that the row asks for, by their class; the later ones find the earlier in ``facts.made``."""
    unknown = sorted(facts.names - set(_PROVIDED))
    if unknown:
        raise DataError(
            f"{facts.config.method} asks for {', '.join(unknown)}, which training an encoder does not provide",
            "method",
            f"It provides {', '.join(sorted(_PROVIDED))}.",
        )
    if facts.names & _BOTH_MODALITIES and len(facts.sizes) < 2:
        raise DataError(
            f"{facts.config.method} learns from two modalities", "config", "Give text columns, or a residual network."
        )
    parts: dict[str, Part] = {}
    for kind, names in PARTS.items():
        if kind is Given or facts.names & set(names):  # parts need the index whether the row does or not
            parts[kind.__name__] = kind(facts)
            facts.made.update(dict.fromkeys(names, parts[kind.__name__]))
    return parts
