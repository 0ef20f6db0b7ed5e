"""What makes a problem's tensors in training: heads, banks, prototypes; each is built where a row asks for it.

A part owns its weights and its memory, so that both are in the checkpoint; `make` gives one of its tensors in a step,
and `after` brings it up to date once the optimizer has moved.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from torchicon.data.errors import DataError
from torchicon.mappers import ClusterHeads, projection_head
from torchicon.training.config import TrainConfig
from torchicon.training.features import as_input
from torchicon.training.step import Step, Stream, seed_of

if TYPE_CHECKING:
    from torchicon.training.encoder import Encoder

_LOG_SCALE = math.log(1 / 0.07)  # CLIP's start
_MAX_LOG_SCALE = math.log(100.0)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What parts are built from.

    Attributes:
        names: of the tensors that the row asks for.
        config: of the run.
        encoder: of the run, to be followed by a teacher.
        sizes: features of each of its parts, and of the texts.
        n: samples of the data.
        classes: number of known classes; 0 without labels.
        iterations: steps of the training.
        columns: names of what is known of each sample.
        views: views of each sample in a batch.
        graph: a symmetric one between the samples, by its rows: indptr (n + 1,), neighbors (m,) and weights (m,).
        made: the parts that were built before, by the tensors they make.
    """

    names: frozenset[str]
    config: TrainConfig
    encoder: Encoder
    sizes: tuple[int, ...]
    n: int
    classes: int
    iterations: int
    columns: frozenset[str]
    views: int
    graph: tuple[Tensor, Tensor, Tensor] | None
    made: dict[str, Part] = field(default_factory=dict)

    @property
    def clusters(self) -> int:
        """Of cluster heads and prototypes. Only methods that learn from labels take their number from them.

        Raises:
            DataError: it is not given.
        """
        if self.config.clusters is not None:
            return self.config.clusters
        if self.classes == 0 or "label" not in self.names:
            raise DataError("says not how many clusters to learn", "config", "Give clusters, such as clusters=10.")
        return self.classes


class Part(nn.Module, ABC):
    """Makes some of a problem's tensors."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.views = facts.views

    @abstractmethod
    def make(self, name: str, step: Step) -> Tensor:
        """The tensor of that name."""

    def after(self, step: Step) -> None:
        """Bring this part up to date, after the optimizer's step."""

    def each_epoch(self, epoch: int) -> None:
        """Bring this part up to date, before an epoch."""


_COLUMNS = {"label": "labels=COLUMN, or labels=folder for class folders", "metadata": "metadata=COLUMN"}


@final
class Given(Part):
    """What the batch brings along: image, index, label, and the columns of the data."""

    _COLUMN: Mapping[str, str] = MappingProxyType({"label": "label", "caption": "metadata"})

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        missing = sorted(
            column for name, column in self._COLUMN.items() if name in facts.names and column not in facts.columns
        )
        if missing:
            raise DataError(
                f"{facts.config.method} learns from {' and '.join(missing)}, which the data do not give",
                facts.config.data,
                "Name them: " + ", ".join(_COLUMNS[column] for column in missing) + ".",
            )

    def make(self, name: str, step: Step) -> Tensor:
        """A column of the whole batch, once for each view."""
        if name == "x":
            return step.of_all_ranks(as_input(step.batch.samples.flatten(1)))
        if name == "index":
            return step.of_all_ranks(step.batch.index)
        index = step.of_all_ranks(step.batch.index)
        column = index if name == "image" else step.everyone(self._COLUMN[name])
        if name == "label":  # nobody is known to be alike to one without a label, but its own views
            column = torch.where(column < 0, -1 - index, column)
        return torch.cat([column] * self.views)


@final
class Projection(Part):
    """z: the projection head on the encoder's first part, and where a teacher makes the keys a predictor on top."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        config, n_in = facts.config, facts.sizes[0]
        self.head = _head(config, n_in)
        with_predictor = {"z", "teacher"} <= facts.names and not {"prototypes", "queue"} & facts.names
        hidden = config.head_hidden or n_in
        self.predictor = (
            projection_head(config.dimensions, config.dimensions, hidden=hidden) if with_predictor else nn.Identity()
        )

    def make(self, name: str, step: Step) -> Tensor:
        """(v B, dimensions)."""
        return step.of_all_ranks(self.predictor(self.head(step.features[0])), views=self.views)


@final
class Second(Part):
    """text: a projection head on the encoder's second part: the colors of a picture, or a text of it.

    Of several texts only the one that was drawn is encoded: the row gets one rewrite, and that it is the drawn one.
    """

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.head = _head(facts.config, facts.sizes[1])

    def make(self, name: str, step: Step) -> Tensor:
        """(B, dimensions); rewrites (B, 1, dimensions), and drawn (B,) zeros."""
        if name == "drawn":
            return torch.zeros_like(step["index"])
        text = step.of_all_ranks(self.head(step.features[1]), views=self.views)
        return text[:, None] if name == "rewrites" else text


@final
class Clusters(Part):
    """Cluster heads: logits of one head, subheads of several, text_logits on the encoder's second part."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        sizes = facts.sizes if "text_logits" in facts.names else facts.sizes[:1]
        heads = facts.config.heads if "subheads" in facts.names else 1
        self.heads = nn.ModuleList(ClusterHeads(n_in, facts.clusters, heads=heads) for n_in in sizes)

    def make(self, name: str, step: Step) -> Tensor:
        """(v B, clusters), or (heads, v B, clusters)."""
        part = 1 if name == "text_logits" else 0
        logits = step.of_all_ranks(self.heads[part](step.features[part]).transpose(0, 1), views=self.views)
        return logits.transpose(0, 1) if name == "subheads" else logits[:, 0]


@final
class Prototypes(Part):
    """A learned table of classes, or of self-distillation's prototypes, and its bias."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        d = facts.config.dimensions
        self.prototypes = nn.Parameter(torch.randn(facts.clusters, d) / math.sqrt(d))
        if "bias" in facts.names:
            self.bias = nn.Parameter(torch.zeros(facts.clusters))

    def make(self, name: str, step: Step) -> Tensor:
        """(c, dimensions), or the bias (c,)."""
        made: Tensor = getattr(self, name)
        return made


@final
class Scale(Part):
    """log_scale: of similarities, learned; at most log 100, as in CLIP."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.log_scale = nn.Parameter(torch.tensor(_LOG_SCALE))

    def make(self, name: str, step: Step) -> Tensor:
        """A number."""
        return self.log_scale

    @torch.no_grad()
    def after(self, step: Step) -> None:
        """Hold it below its bound."""
        self.log_scale.clamp_(max=_MAX_LOG_SCALE)


@final
class Weights(Part):
    """weight: the data's graph among the samples of a batch."""

    indptr: Tensor
    neighbors: Tensor
    values: Tensor

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        if facts.graph is None:
            raise DataError(
                f"{facts.config.method} learns from a graph, which the data do not give",
                facts.config.data,
                "Give a .npz file with edges (m, 2), and weights (m,) if they differ.",
            )
        for name, tensor in zip(("indptr", "neighbors", "values"), facts.graph, strict=True):
            self.register_buffer(name, tensor, persistent=False)  # part of the data, not of what is learned

    def make(self, name: str, step: Step) -> Tensor:
        """(B, B) symmetric, without loops."""
        index = step["index"]
        place = torch.full((len(self.indptr) - 1,), -1, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        degree = self.indptr[index + 1] - self.indptr[index]
        anchor = torch.repeat_interleave(torch.arange(len(index), device=index.device), degree)
        first = self.indptr[index] - (degree.cumsum(0) - degree)
        edge = torch.arange(len(anchor), device=index.device) + first[anchor]
        column = place[self.neighbors[edge]]
        inside = column >= 0
        weight = self.values.new_zeros(len(index), len(index))
        weight[anchor[inside], column[inside]] = self.values[edge[inside]]
        return weight


@final
class Clock(Part):
    """iteration and seed, and sampled: rows that are drawn from the bank."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.n, self.count = facts.n, min(facts.config.sampled, facts.n - 1)
        self.distinct = "logits" in facts.names  # CRLC's candidates; noise (IR) is drawn with replacement

    def make(self, name: str, step: Step) -> Tensor:
        """A number, or (B, sampled) columns."""
        if name == "iteration":
            return torch.tensor(step.iteration)
        if name == "seed":
            return torch.tensor(seed_of(step.module.config.seed, step.iteration, Stream.SEED))
        rows = len(step["index"])
        if not self.distinct:
            drawn = torch.randint(self.n, (rows, self.count), generator=step.generator(Stream.SAMPLED))
            return drawn.to(step["index"].device)
        key = torch.rand(rows, self.n, generator=step.generator(Stream.SAMPLED)).to(step["index"].device)
        key.scatter_(1, step["index"][:, None], -1.0)  # the own row is there already
        return key.topk(self.count, dim=1).indices


def _head(config: TrainConfig, n_in: int) -> nn.Sequential:
    return projection_head(
        n_in, config.dimensions, hidden=config.head_hidden, layers=config.head_layers, last_norm=config.head_last_norm
    )
