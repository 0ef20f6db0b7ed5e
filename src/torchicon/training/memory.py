"""Parts that remember: averaged teachers, memory banks, and the close sets of a bank."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchicon.candidates import Clusterings, EMATeacher, MemoryBank, ProbabilityBank, Queue
from torchicon.candidates.bank import Bank
from torchicon.data.errors import DataError
from torchicon.training.encoder import Encoder
from torchicon.training.parts import Clusters, Facts, Part, Projection, Prototypes
from torchicon.training.step import Step, generator_of

_CENTER = 0.9  # share that DINO's running center keeps
_QUEUE = 4096  # keys of MoCo on CIFAR-10; at most half of the data, or a picture meets itself too often
_CLUSTERS = 300 / 50_000  # of the bank's rows: local aggregation's clusters on CIFAR-10


class _Student(nn.Module):
    """From samples to what a teacher makes of them: z without a predictor, cosines with prototypes, or logits."""

    def __init__(self, encoder: Encoder, head: nn.Module, prototypes: Prototypes | None) -> None:
        super().__init__()
        self.encoder, self.head, self.prototypes = encoder, head, prototypes

    def forward(self, samples: Tensor) -> Tensor:
        made: Tensor = self.head(self.encoder.parts(samples)[0])
        if self.prototypes is not None:
            return F.normalize(made, dim=1) @ F.normalize(self.prototypes.prototypes, dim=1).T
        return made[0] if made.ndim == 3 else made  # of the first cluster head


@final
class Teacher(Part):
    """teacher: what an averaged copy of the encoder and its head makes of the views; center, its running mean."""

    center: Tensor

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        follows = facts.made["z" if "z" in facts.names else "logits"]
        assert isinstance(follows, Projection | Clusters)
        head = follows.head if isinstance(follows, Projection) else follows.heads[0]
        prototypes = facts.made.get("prototypes")
        assert prototypes is None or isinstance(prototypes, Prototypes)
        student = _Student(facts.encoder, head, prototypes)
        self._student = [student]  # in a list, so that its weights are not saved a second time
        start, total = facts.config.teacher_momentum, max(1, facts.iterations)
        self.ema = EMATeacher(
            student,
            start
            if facts.config.teacher_schedule == "constant"
            else lambda t: 1 - (1 - start) * (math.cos(math.pi * min(t / total, 1)) + 1) / 2,
        )
        self._frozen = facts.config.frozen
        if "center" in facts.names:
            self.register_buffer("center", torch.zeros(facts.clusters))

    def make(self, name: str, step: Step) -> Tensor:
        """(v B, ...) without a gradient."""
        if name == "center":
            return self.center.clone()
        if self._frozen:  # the student's encoder is in evaluation mode, and so is its copy
            self.ema.module.encoder.eval()  # type: ignore[union-attr]
        made: Tensor = self.ema(torch.cat(step.views))
        return step.of_all_ranks(made, views=self.views)

    @torch.no_grad()
    def after(self, step: Step) -> None:
        """Follow the student."""
        self.ema.update(self._student[0])
        if hasattr(self, "center"):
            self.center.lerp_(step["teacher"].float().mean(0), 1 - _CENTER)


@final
class Banks(Part):
    """bank and text_bank: a remembered row for each sample, of z, of the second part, or of probabilities."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        config = facts.config
        self.sources = {"bank": "z" if "z" in facts.names else "logits", "text_bank": "text"}
        self.banks = nn.ModuleDict()
        for place, name in enumerate(sorted(facts.names & set(self.sources))):
            generator = generator_of(config.seed, place, facts.n)
            self.banks[name] = (
                ProbabilityBank(facts.n, facts.clusters, rate=config.bank_rate, generator=generator)
                if self.sources[name] == "logits"
                else MemoryBank(facts.n, config.dimensions, rate=config.bank_rate, generator=generator)
            )

    def make(self, name: str, step: Step) -> Tensor:
        """(n, ...) rows as they were before this step."""
        bank = self.banks[name]
        assert isinstance(bank, Bank)
        return bank.rows

    @torch.no_grad()
    def after(self, step: Step) -> None:
        """Move the rows of this batch."""
        for name, bank in self.banks.items():
            made = step[self.sources[name]].detach().float()
            new = made.softmax(1) if self.sources[name] == "logits" else F.normalize(made, dim=1)
            bank.update(step["index"], new)  # type: ignore[operator]


@final
class Keys(Part):
    """queue: keys that the teacher made of the second view in the last steps."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        size = facts.config.queue_size or max(1, min(_QUEUE, facts.n // 2))
        self.queue = Queue(size, facts.config.dimensions)

    def make(self, name: str, step: Step) -> Tensor:
        """(m, dimensions), of unit length; none in the first step, which therefore teaches nothing."""
        return self.queue.rows

    @torch.no_grad()
    def after(self, step: Step) -> None:
        """Add this batch's keys."""
        self.queue.push(F.normalize(step["teacher"].chunk(2)[1].float(), dim=1))


@final
class CloseSets(Part):
    """cluster and text_cluster: k-means clusterings of a bank, found anew from time to time."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        config = facts.config
        self._banks = [facts.made["bank"]]
        self.count = config.close_clusters or max(2, round(_CLUSTERS * facts.n))
        if self.count > facts.n:
            raise DataError(f"{facts.n} samples cannot make {self.count} clusters", "close_clusters", "Give fewer.")
        self.every = config.close_every
        self.sets = nn.ModuleDict(
            {
                name: Clusterings(facts.n, runs=config.close_runs, seed=config.seed)
                for name in sorted({"cluster", "text_cluster"} & facts.names)
            }
        )

    def make(self, name: str, step: Step) -> Tensor:
        """(runs, n) integers."""
        clusterings = self.sets[name]
        assert isinstance(clusterings, Clusterings)
        return clusterings.cluster

    def each_epoch(self, epoch: int) -> None:
        """Cluster the banks."""
        banks = self._banks[0]
        assert isinstance(banks, Banks)
        for name, clusterings in self.sets.items():
            if epoch % self.every == 0:
                bank = banks.banks["text_bank" if name == "text_cluster" else "bank"]
                clusterings.fit(bank.rows, self.count)  # type: ignore[operator]
