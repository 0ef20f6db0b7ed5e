"""Batches of samples: which ones is a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import lightning.pytorch as pl
import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from torchicon.data.errors import DataError
from torchicon.data.samples import Samples
from torchicon.neighborhoods import KNN
from torchicon.training.config import TrainConfig
from torchicon.training.step import Batch, Stream, generator_of, rank, world_size


@final
class Batches(Sampler[tuple[int, Tensor]]):
    """The batches of a whole training, from a step on: (step, indices of this rank's share).

    Every epoch visits the samples in an order of its own; what is left at its end and fills no batch is left out. With
    neighbors, half of a batch comes from that order and brings a neighbor each along; no sample is in a batch twice,
    so where a neighbor is there already, the next sample of the order takes its place.

    Args:
        n: samples.
        size: of a batch, over all ranks.
        epochs: of the training.
        seed: of the orders and of the neighbors.
        neighbors: (n, k) those of each sample, of which one is drawn.
        start: the first step to yield.

    Raises:
        DataError: a batch larger than the data.

    >>> [index.tolist() for _, index in Batches(4, 2, epochs=1, seed=0)]
    [[0, 2], [3, 1]]
    """

    def __init__(
        self, n: int, size: int, *, epochs: int, seed: int, neighbors: Tensor | None = None, start: int = 0
    ) -> None:
        if size > n:
            raise DataError(f"{n} samples fill no batch of {size}", "batch_size", "Give a smaller batch_size.")
        self.n, self.size, self.seed, self.start, self.neighbors = n, size, seed, start, neighbors
        self.visited = size if neighbors is None else size // 2  # by the order, in a batch
        self.per_epoch = n // self.visited
        self.iterations = epochs * self.per_epoch

    def __len__(self) -> int:
        """Steps of the whole training, those before ``start`` among them: a trainer that resumes counts on."""
        return self.iterations

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        share = self.size // world_size()
        order, of_epoch = torch.empty(0), -1
        for step in range(self.start, self.iterations):
            epoch, place = divmod(step, self.per_epoch)
            if epoch != of_epoch:
                generator = generator_of(self.seed, epoch)
                order, of_epoch = torch.randperm(self.n, generator=generator), epoch
            first = place * self.visited
            if self.neighbors is None:
                batch = order[first : first + self.size]
            else:
                batch = self._accompanied(self.neighbors, order.roll(-first), step)
            yield step, batch[rank() * share :][:share]

    def _accompanied(self, neighbors: Tensor, order: Tensor, step: int) -> Tensor:
        """The first half of a batch, a neighbor of each, and what fills it up from the order."""
        visited = order[: self.visited]
        generator = generator_of(self.seed, step, Stream.NEIGHBOR)
        which = torch.randint(neighbors.shape[1], visited.shape, generator=generator)
        drawn = neighbors[visited, which]
        distinct = dict.fromkeys(torch.cat([visited, drawn, order[self.visited : 2 * self.size]]).tolist())
        return torch.tensor(list(distinct)[: self.size])


@final
class _Rows(Dataset[Batch]):
    """A batch by its step and its indices."""

    def __init__(self, samples: Samples, columns: dict[str, Tensor]) -> None:
        self.rows, self.columns = samples.rows, columns

    def __getitem__(self, at: tuple[int, Tensor]) -> Batch:
        step, index = at
        ordered, back = torch.unique(index, return_inverse=True)  # a mapped file is read from its beginning to its end
        rows = torch.from_numpy(np.ascontiguousarray(self.rows[ordered.numpy()]))
        return Batch(
            index=index,
            samples=rows[back],
            columns={name: column[index] for name, column in self.columns.items()},
            iteration=step,
        )


@final
class IConDataModule(pl.LightningDataModule):
    """Samples as batches for `IConModule`.

    Args:
        samples: what to learn from.
        config: of the run.

    Attributes:
        columns: what is known of each sample, (n, ...) by name.
        neighbors: (n, k) of each sample, where the config asks for some.
        graph: by rows, indptr (n + 1,), neighbors (m,) and weights (m,), where the samples have edges.
        iterations: steps of the training.

    Raises:
        DataError: a batch larger than the data, or samples that are neither pictures nor features.
    """

    def __init__(self, samples: Samples, config: TrainConfig) -> None:
        super().__init__()
        if len(samples) < 2:
            raise DataError("has one sample, and it takes two to compare", samples.source, "Give more.")
        self.samples, self.config = samples, config
        self.columns = columns_of(samples, known=config.known, seed=config.seed)
        self.neighbors = None if config.neighbors is None else _nearest(samples, config.neighbors)
        self.iterations = self._batches(0).iterations
        self.graph = _graph(samples)

    def train_dataloader(self) -> Any:
        """Batches from the trainer's step on."""
        start = 0 if self.trainer is None else self.trainer.global_step
        rows = _Rows(self.samples, self.columns)
        mapped = isinstance(rows.rows, np.memmap)  # reading from a disk is worth a process of its own
        return DataLoader(
            rows,
            sampler=self._batches(start),
            batch_size=None,
            num_workers=1 if mapped else 0,
            pin_memory=torch.cuda.is_available() and self.config.accelerator != "cpu",
        )

    def _batches(self, start: int) -> Batches:
        config, n = self.config, len(self.samples)
        return Batches(
            n, config.batch_of(n), epochs=config.epochs, seed=config.seed, neighbors=self.neighbors, start=start
        )


def columns_of(samples: Samples, *, known: float, seed: int) -> dict[str, Tensor]:
    """What is known of each sample, (n, ...) by name; of the labels a share, the same for every class."""
    columns: dict[str, Tensor] = {}
    if samples.labels is not None:
        label = torch.from_numpy(samples.labels).clone()
        if known < 1:
            label[~_kept(label, known, seed)] = -1
        columns["label"] = label
    if samples.metadata is not None:
        columns["metadata"] = torch.from_numpy(samples.metadata)
    return columns


def _nearest(samples: Samples, k: int) -> Tensor:
    """(n, k) the nearest others of each sample, by the cosine."""
    if k >= len(samples):
        raise DataError(f"{len(samples)} samples have no {k} neighbors", "neighbors", "Give fewer.")
    x = samples.features if samples.metadata is None else samples.metadata
    if x is None:
        raise DataError("gives nothing to find neighbors by", samples.source, "Give features, or metadata=COLUMN.")
    return KNN(k, "cosine")(torch.from_numpy(x)).columns.reshape(len(samples), k)


def _graph(samples: Samples) -> tuple[Tensor, Tensor, Tensor] | None:
    """The symmetric graph without loops: whichever way an edge is listed, it goes both ways."""
    if samples.edges is None:
        return None
    proper = samples.edges[:, 0] != samples.edges[:, 1]
    one, other = samples.edges[proper].T
    weights = np.ones(len(one), np.float32) if samples.weights is None else samples.weights[proper]
    listed = csr_array((weights, (one, other)), shape=(len(samples), len(samples)))
    graph = listed.maximum(listed.T).tocsr()
    return tuple(torch.from_numpy(part) for part in (graph.indptr, graph.indices, graph.data))  # type: ignore[return-value]


def _kept(label: Tensor, known: float, seed: int) -> Tensor:
    """Which labels stay: of each class a share drawn at random, one at least."""
    kept = torch.zeros(len(label), dtype=torch.bool)
    generator = generator_of(seed, len(label))
    for value in torch.unique(label).tolist():
        rows = (label == value).nonzero()[:, 0]
        count = max(1, round(known * len(rows)))
        kept[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return kept
