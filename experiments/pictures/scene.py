"""The tensors of a method's problem, made of digits: one recipe for each name of the shared vocabulary.

A kind of problem is the set of names that its example has, so a new kind of known names needs nothing here. Labels are
for the eye and the number beside a picture, except where a method asks for them. Encoders have two hidden layers of
128 units and end in three dimensions, or in as many as the example where it has fewer, or an even number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pictures import digits
from pictures.digits import Digits
from pictures.training import MLP, Problem, looks_at, used_names
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from torchicon import Method
from torchicon.core import wide

CLUSTERS = 10
_HIDDEN = (128, 128)
_ROWS = 256  # of a batch
_MOMENTUM, _BANK_MOMENTUM = 0.99, 0.5
_TABLE_RATE, _NETWORK_RATE, _HEAD_RATE = 0.3, 3e-3, 0.02

_KMEANS_RUNS, _KMEANS_CLUSTERS, _KMEANS_EVERY = 3, 30, 50

# fmt: off
KNOWN = frozenset((
    "x", "z", "logits", "label", "image", "weight", "prototypes", "text", "caption", "bank", "teacher", "center",
    "rewrites", "drawn", "masked", "subheads", "text_logits", "index", "sampled", "cluster", "text_bank",
    "text_cluster", "iteration", "seed", "lattice", "target",
))
# fmt: on


class Scene:
    """A method's tensors, its networks, and what they see.

    Raises:
        LookupError: the example has a tensor that nothing here makes.
    """

    def __init__(self, method: Method, parts: tuple[Digits, Digits, Digits], generator: torch.Generator) -> None:
        self.method, self.generator = method, generator
        small = method.example(torch.Generator().manual_seed(0))
        self.example = {name: value.float() if value.is_floating_point() else value for name, value in small.items()}
        self.names = used_names(method) | set(self.example) & {"x", "weight"}
        strange = sorted(name for name in self.names - KNOWN if self.example[name].ndim > 1)
        if strange:
            raise LookupError(f"no recipe makes {', '.join(strange)} of digits")
        self.is_table = bool(self.names & {"x", "weight"})
        table, held_out, most = parts
        train = table if self.is_table else most
        if "prototypes" in self.names and "label" in self.names:  # rows name a fixed number of classes
            count = len(self.example["prototypes"])
            train, held_out = train.of_classes(count), held_out.of_classes(count)
        self.is_sentence = "masked" in self.example
        if self.is_sentence:
            held_out = held_out.rows(digits.counting(held_out.label, 40, generator))
        self.train, self.held_out = train, held_out
        self.split = bool(self.names & {"text", "rewrites", "text_logits"})
        self.views = int(torch.bincount(self.example["image"])[0]) if "image" in self.names else 1
        self.step = 0
        self.is_bounded = not self.is_table and any(term.divergence is wide for term in method.terms)
        self.given: Problem = {}
        self.learned: dict[str, Tensor] = {}
        self.networks: dict[str, MLP] = {}
        self._prepare()
        self.rate, self.steps = _NETWORK_RATE, 400
        if self.is_table:
            self.steps = 300
            self.rate = _TABLE_RATE if "z" in method.learns else _HEAD_RATE

    @property
    def groups(self) -> list[dict[str, Any]]:
        """What Adam moves: gains by their logarithm, and faster, as they span orders of magnitude."""
        weights = [weight for network in self.networks.values() for weight in network.parameters]
        gains = [network.log_gain for network in self.networks.values() if network.log_gain is not None]
        groups = [{"params": [*self.learned.values(), *weights], "lr": self.rate}]
        return groups + ([{"params": gains, "lr": 10 * self.rate}] if gains else [])

    def make(self) -> Problem:
        """The tensors of the next step of training."""
        n = len(self.train.x)
        rows = torch.arange(n)
        if not self.is_table:
            rows = torch.randperm(n, generator=self.generator)[: _ROWS // self.views]
        if self.is_sentence:
            rows = digits.counting(self.train.label, _ROWS // int(self.train.label.max() + 1), self.generator)
        self.rows = rows.repeat(self.views)
        seen = self.features if self.is_table else digits.augmented(self.train.x[self.rows], self.generator)
        return self.problem(seen, self.train.label[self.rows])

    def problem(self, seen: Tensor, label: Tensor) -> Problem:
        """All tensors for what is seen of some rows, (n, 64), or (n, d) of what a table is made of."""
        made: Problem = {**self.given, **self.learned}
        left, right = digits.halves(seen) if self.split else (seen, seen)
        for name, network in self.networks.items():
            if name == "rewrites":
                count = self.example["rewrites"].shape[1]
                again = [digits.halves(digits.augmented(seen, self.generator))[1] for _ in range(count)]
                made[name] = torch.stack([network(text) for text in again], dim=1)
                made["drawn"] = torch.randint(0, count, (len(seen),), generator=self.generator)
            elif name == "subheads":
                made[name] = network(left).view(len(left), -1, CLUSTERS).transpose(0, 1)
            else:
                made[name] = self.encoded(name, right if name.startswith("text") else left)
        if "z" in self.learned and not looks_at(self.method, "x") and "x" in self.names:
            made["z"] = seen @ torch.linalg.qr(self.learned["z"]).Q  # orthonormal columns
        if "caption" in self.names:
            made["caption"] = digits.halves(seen)[1]
        if "label" in self.names:
            made["label"] = label
            if int(self.example["label"].min()) < 0:  # one image in ten has a label
                made["label"] = torch.where(self.rows % 10 == 0, label, -1)
        if "masked" in self.names:
            made["masked"] = torch.arange(len(seen)) % 3 == 1
        if "index" in self.names:
            made["index"] = self.rows
        if "sampled" in self.names:
            others = torch.rand(len(seen), len(self.train.x), generator=self.generator).scatter_(
                1, self.rows[:, None], -1.0
            )
            made["sampled"] = others.topk(4 * self.example["sampled"].shape[1]).indices
        if "lattice" in self.names:
            made["target"] = self._target(made["lattice"], label)
        for name in {"iteration", "seed"} & self.names:
            made[name] = torch.tensor(self.step)
        if "teacher" in self.names:
            made["teacher"] = self._taught(left)
        return {name: made[name] for name in self.names}

    def encoded(self, name: str, seen: Tensor) -> Tensor:
        """What a network makes of its inputs: of unit length where the loss would not be bounded otherwise."""
        made = self.networks[name](seen)
        return functional.normalize(made, dim=1) if self.is_bounded and name in ("z", "text") else made

    def after(self) -> None:
        """A step of the teacher and of the banks."""
        self.step += 1
        if self.teacher is not None:
            self.teacher.average(self.networks[self.taught], _MOMENTUM)
        if "center" in self.names and self.teacher is not None:
            self.given["center"] = self.given["center"].lerp(self._scores.mean(0), 0.1)
        for bank, network in (("bank", self.taught), ("text_bank", "text")):
            if bank in self.names:
                self._remember(bank, network)

    def _prepare(self) -> None:
        names, train, generator = self.names, self.train, self.generator
        if "image" in names:
            self.given["image"] = torch.arange(_ROWS // self.views).repeat(self.views)
        if "weight" in names:
            self.given["weight"] = digits.knn_graph(train.x, 10)
            self.features = digits.laplacian_axes(self.given["weight"], 16)
        elif "x" in names:
            centered = train.x - train.x.mean(0)
            spread = 12 if "z" in names else 75  # mean squared distance to the center, in units of the rows' constants
            self.given["x"] = self.features = centered * (spread / centered.square().sum(1).mean()).sqrt()
        inputs = self.features.shape[1] if self.is_table else 32 if self.split else 64
        hidden = () if self.is_table else _HIDDEN
        dims = self.dims = self._dims()
        if "z" in names and self.is_table:
            self._place_table(dims)
        for name in ("z", "text", "rewrites"):
            if name in names and not self.is_table:
                self.networks[name] = MLP(inputs, *hidden, dims, generator=generator, standardized=True)
        for name, outputs in (("logits", CLUSTERS), ("text_logits", CLUSTERS), ("subheads", 3 * CLUSTERS)):
            if name in names and name in self.method.learns:
                self.networks[name] = MLP(inputs, *hidden, outputs, generator=generator)
            elif name in names:
                self.given[name] = self.example[name]  # no term looks at it
        self.taught = "z" if "z" in self.networks else "logits"
        self.teacher: MLP | None = None
        if "teacher" in names or ("lattice" in names and dims > 1):
            outputs = self.networks[self.taught].parameters[-1].shape[0]
            self.teacher = MLP(inputs, *hidden, outputs, generator=generator, standardized="z" in self.networks)
            self.teacher.average(self.networks[self.taught], 0.0)
        if "prototypes" in names:
            count = len(self.example["prototypes"])
            self.learned["prototypes"] = torch.randn(count, dims, generator=generator).requires_grad_()
        for name in ("bank", "text_bank"):
            if name in names:
                rows = torch.randn(len(train.x), dims or CLUSTERS, generator=generator)
                self.given[name] = functional.normalize(rows, dim=1) if dims else rows.softmax(1)
                self._cluster(name)
        if "lattice" in names:
            self.given["lattice"] = self.example["lattice"]
        for name in names - KNOWN | names & {"center"}:
            value = self.example[name].clone()
            if name in self.method.learns:
                self.learned[name] = value.requires_grad_()
            else:
                self.given[name] = value

    def _dims(self) -> int:
        if "z" not in self.names:
            return 0
        dims = self.example["z"].shape[1]
        if self.is_table or dims == 2:
            return 2
        if "lattice" in self.names:
            return dims
        return 4 if self.method.example.__name__ == "even_views" else min(dims, 3)

    def _place_table(self, dims: int) -> None:
        """A table of places that starts small on the first axes; of a linear map, if the loss never looks at x."""
        if "x" in self.names and not looks_at(self.method, "x"):
            start = torch.randn(self.features.shape[1], dims, generator=self.generator)
        else:
            start = digits.principal(self.features, dims) if "x" in self.names else self.features[:, :dims]
            start = 0.1 * start / start.std()
        if "z" in self.method.learns:
            self.learned["z"] = start.clone().requires_grad_()
        else:
            self.given["z"] = start

    def _taught(self, seen: Tensor) -> Tensor:
        assert self.teacher is not None
        with torch.no_grad():
            if "prototypes" not in self.names:
                return self.teacher(seen)
            rows = 2 * (len(seen) // self.views)  # the teacher sees the first two views
            ends = functional.normalize(self.teacher(seen[:rows]), dim=1)
            self._scores = ends @ functional.normalize(self.learned["prototypes"], dim=1).T
            return self._scores

    def _target(self, lattice: Tensor, label: Tensor) -> Tensor:
        """The lattice's point for a digit as a number, or nearest to the teacher's direction for another view."""
        if lattice.shape[1] == 1:
            numbers = (label.float() - 4.5)[:, None] * 0.4  # the digits from -1.8 to 1.8
            return torch.cdist(numbers, lattice).argmin(1)
        assert self.teacher is not None
        with torch.no_grad():
            seen = self.teacher(digits.augmented(self.train.x[self.rows], self.generator))
            unit = torch.nonzero((lattice.norm(dim=1) - 1).abs() < 1e-5)[:, 0]
            return unit[(seen @ lattice[unit].T).argmax(1)]

    def _remember(self, name: str, network: str) -> None:
        """Move the rows of the batch toward what the network now makes of them."""
        with torch.no_grad():
            seen = self.train.x[self.rows]
            if self.split:
                seen = digits.halves(seen)[0 if name == "bank" else 1]
            new = self.networks[network](seen)
            new = functional.normalize(new, dim=1) if self.dims else new.softmax(1)
            bank = self.given[name].clone()
            bank[self.rows] = bank[self.rows].lerp(new, 1 - _BANK_MOMENTUM)
            self.given[name] = functional.normalize(bank, dim=1) if self.dims else bank
        if self.step % _KMEANS_EVERY == 0:
            self._cluster(name)

    def _cluster(self, bank: str) -> None:
        """K-means clusterings of a bank, for the methods that ask for them."""
        name = bank.replace("bank", "cluster")
        if name in self.names:
            rows = self.given[bank].numpy()
            runs = [
                KMeans(_KMEANS_CLUSTERS, n_init=1, random_state=seed).fit_predict(rows) for seed in range(_KMEANS_RUNS)
            ]
            self.given[name] = torch.tensor(np.stack(runs), dtype=torch.long)
