"""One step of training as a problem: a row of the table asks for tensors by name, and gets them made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol, final

import torch
import torch.distributed as dist
from torch import Generator, Tensor

from torchicon.core import gather
from torchicon.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This rank's share of a batch.

    Attributes:
        index: (b,) which samples these are.
        samples: (b, 3, h, w) uint8 pictures or (b, d) features.
        columns: what else is known of each sample, (b, ...) by name: label, metadata, tokens.
        iteration: of the whole training.
    """

    index: Tensor
    samples: Tensor
    columns: dict[str, Tensor]
    iteration: int

    def pin_memory(self) -> Batch:
        """In page-locked memory (a hook of torch's loader)."""
        pinned = {name: value.pin_memory() for name, value in self.columns.items()}
        return replace(self, index=self.index.pin_memory(), samples=self.samples.pin_memory(), columns=pinned)

    def to(self, device: torch.device) -> Batch:
        """On another device."""
        moved = {name: value.to(device, non_blocking=True) for name, value in self.columns.items()}
        index, samples = (tensor.to(device, non_blocking=True) for tensor in (self.index, self.samples))
        return replace(self, index=index, samples=samples, columns=moved)


class Stream(IntEnum):
    """What a step draws, each from random numbers of its own. No two may be the same."""

    VIEWS = 0
    SAMPLED = 1  # rows of a bank
    SEED = 2  # for a row that draws itself
    TEXT = 3  # one of a sample's texts
    NEIGHBOR = 4  # of the samples that a batch visits
    NETWORK = 1000  # dropout and its like, of the first rank; the others follow


class Maker(Protocol):
    """What makes tensors of a problem: a part."""

    def make(self, name: str, step: Step) -> Tensor:
        """The tensor of that name."""


class Provider(Protocol):
    """What a step turns to: the module.

    Attributes:
        names: of the tensors that the row asks for.
        config: of the run.
    """

    names: frozenset[str]
    config: TrainConfig

    def part_of(self, name: str) -> Maker:
        """What makes the tensor of that name."""

    def encode(self, step: Step) -> list[Tensor]:
        """Features of each part of the encoder."""


@final
class Step(Mapping[str, Tensor]):
    """The problem of one step. Every tensor is made when it is first asked for, by the part that provides it.

    Args:
        module: whose parts make the tensors.
        batch: this rank's share.
        views: inputs of the encoder, (b, ...) each, one for each view.

    Attributes:
        features: the encoder's, a list of (v b, n_features) with an entry for each of its parts.
    """

    def __init__(self, module: Provider, batch: Batch, views: list[Tensor]) -> None:
        self.module, self.batch, self.views = module, batch, views
        self._made: dict[str, Tensor] = {}
        self._features: list[Tensor] | None = None

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            self._made[name] = self.module.part_of(name).make(name, self)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.module.names)

    def __len__(self) -> int:
        return len(self.module.names)

    @property
    def features(self) -> list[Tensor]:
        """Of this rank's views, the first view's rows before the second's."""
        if self._features is None:
            self._features = self.module.encode(self)
        return self._features

    def is_finite(self) -> bool:
        """Whether all that was made so far is."""
        made = [*self._made.values(), *(self._features or [])]
        return all(bool(tensor.isfinite().all()) for tensor in made)

    @property
    def iteration(self) -> int:
        """Of the whole training."""
        return self.batch.iteration

    def generator(self, stream: Stream) -> Generator:
        """Of the draws of this step: the same on all ranks and in every repetition of the step."""
        return generator_of(self.module.config.seed, self.iteration, stream)

    def of_all_ranks(self, x: Tensor, *, views: int = 1) -> Tensor:
        """Rows of all ranks as one process with the whole batch would have them, with gradients.

        Args:
            x: (v b, ...) this rank's rows, view by view.
            views: v.
        """
        ranks = world_size()
        if ranks == 1:
            return x
        shape = x.shape[1:]
        flat = x.reshape(len(x), -1) if x.ndim > 1 else x
        rows = gather(flat.contiguous()).rows
        by_rank = rows.reshape(ranks, views, -1, *rows.shape[1:])  # (ranks, v, b, ...)
        return by_rank.transpose(0, 1).reshape(-1, *shape)

    def everyone(self, column: str) -> Tensor:
        """A column of the whole batch, (B, ...)."""
        return self.of_all_ranks(self.batch.columns[column])


def seed_of(*numbers: int) -> int:
    """One seed of several numbers: those of nearby steps are unrelated (the finalizer of splitmix64).

    >>> seed_of(0, 1) != seed_of(1, 0)
    True
    """
    state = 0
    for number in numbers:
        state = (state * 0x9E3779B97F4A7C15 + number + 0x632BE59BD9B4E019) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state >> 1  # generators take 63 bits without a sign


def generator_of(*numbers: int) -> Generator:
    """A generator whose seed is made of several numbers."""
    return Generator().manual_seed(seed_of(*numbers))


def world_size() -> int:
    """How many processes share the batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
