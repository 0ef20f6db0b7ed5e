"""What a training run is asked for: typed, checked as a whole before any work, and enough to run it again."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, final

import torch

from torchicon.data.errors import DataError, suggest
from torchicon.data.views import POLICIES, View
from torchicon.methods import Method, find
from torchicon.training.parsing import typed
from torchicon.training.recipes import defaults_of

_VIEW_FIELDS = tuple(field.name for field in dataclasses.fields(View))
_BY_THE_RUN = ("iterations",)  # settings of a row that follow from the length of the training
_BATCH = 256
_STEPS, _SMALL = 8, 32  # of an epoch of few samples, as long as a batch has so many
_BALL = 4096 / 50_000  # of the bank: Wu et al. 2020 on CIFAR-10


@final
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. `TrainConfig.of` fills in what the method's recipe says; nothing else is needed to repeat it.

    Args:
        method: a row of the periodic table.
        data: what to learn from; see `torchicon.data.read_samples`, as for the six that follow.
        labels: the column, array or folder level with known labels. Supervised methods learn from them; for all others
            they only serve to report an accuracy.
        text: the column or columns with texts, for methods across modalities.
        metadata: the column with what says which samples are alike (X-Sample, LGSimCLR).
        split: of a Hugging Face dataset.
        image_size: pixels a side.
        limit: the first so many samples only; all when omitted.
        test: labeled samples to report accuracies on, in the same format as ``data``.
        test_split: of a Hugging Face dataset ``test``.
        neighbors: let half of a batch be drawn from the so many nearest neighbors of the other half, for methods whose
            positives are neighbors; by ``metadata`` where there is some, else by the features.
        known: share of the labels that semi-supervised methods may see.
        settings: the method's constants, such as ``{"temperature": 0.1}``.
        views: name of a policy: none, simclr, simclr-small, moco-v3, crlc or wu.
        crop: instead of the policy's; 0 is off (see `torchicon.data.views.View`).
        flip: likewise.
        color: likewise.
        brightness: likewise.
        contrast: likewise.
        saturation: likewise.
        hue: likewise.
        gray: likewise.
        blur: likewise.
        solarize: likewise.
        mapper: resnet10, resnet18, resnet34, resnet50; mlp, linear or identity for features; the id or folder of a
            transformers model; or MODULE:NAME, a class or function of your own that returns an nn.Module.
        width: channels of a residual network's first stage, or hidden units of an mlp.
        frozen: leave the encoder's weights as they are and train what is on top of it.
        text_mapper: the id or folder of a transformers text model, for ``text``.
        dimensions: of the representation z.
        head_layers: linear maps of the projection head.
        head_hidden: its hidden units; as many as features when omitted.
        head_last_norm: end the projection head with a batch normalization.
        clusters: of cluster heads, or prototypes; methods that learn from labels know the number of classes.
        heads: cluster heads side by side.
        teacher_momentum: of the averaged teacher.
        teacher_schedule: cosine, along which the momentum rises to 1, or constant.
        bank_rate: share of the old row that an update of the memory bank keeps.
        queue_size: keys of MoCo's queue; 4096 when omitted, or half of fewer samples.
        sampled: rows that are drawn from the bank, for methods that draw.
        close_runs: k-means runs behind close sets.
        close_clusters: clusters of each run.
        close_every: epochs between two rounds of them.
        optimizer: sgd, adamw or lars.
        lr: the highest learning rate, as it is used; it is not scaled with the batch.
        weight_decay: of weights; biases and normalizations have none.
        momentum: of sgd and lars.
        schedule: cosine (to 0), step (a tenth after 60 % and again after 80 %) or constant.
        warmup_epochs: with a learning rate that rises linearly; a tenth of all, at most 10, when omitted.
        clip: the largest norm of the gradient; unlimited when omitted.
        epochs: passes over the data.
        batch_size: samples a step, over all devices together; 256 when omitted, or an eighth of fewer than 2048.
        seed: of everything that is drawn.
        precision: 32, or bf16 for mixed precision.
        compile: let torch.compile translate the encoder.
        accelerator: cpu, cuda, or auto.
        devices: of each node.
        nodes: that share the work.
        threads: of torch on the CPU; results depend on it in the last digits.
        log_every: steps between two rows of metrics.csv, at most; short runs have a hundred rows.
        evaluate_every: epochs between two evaluations; 0 for only at start and end.
        checkpoint_every: steps between two checkpoints; one an epoch when omitted.

    Raises:
        DataError: a value that cannot be, an unknown key or setting; the message names it and what there is.

    >>> config = TrainConfig.of("simclr", data="images/", epochs=10, temperature=0.2)
    >>> config.settings, config.optimizer, config.epochs
    ({'temperature': 0.2}, 'sgd', 10)
    """

    method: str
    data: str
    labels: str | None = None
    text: tuple[str, ...] | None = None
    metadata: str | None = None
    split: str = "train"
    image_size: int = 32
    limit: int | None = None
    test: str | None = None
    test_split: str = "train"
    neighbors: int | None = None
    known: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)

    views: str = "simclr-small"
    crop: float | None = None
    flip: float | None = None
    color: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    gray: float | None = None
    blur: float | None = None
    solarize: float | None = None

    mapper: str = "resnet18"
    width: int = 64
    frozen: bool = False
    text_mapper: str | None = None
    dimensions: int = 128
    head_layers: int = 2
    head_hidden: int | None = None
    head_last_norm: bool = False
    clusters: int | None = None
    heads: int = 1
    teacher_momentum: float = 0.99
    teacher_schedule: Literal["cosine", "constant"] = "cosine"
    bank_rate: float = 0.5
    queue_size: int | None = None
    sampled: int = 4096
    close_runs: int = 10
    close_clusters: int | None = None
    close_every: int = 1

    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"
    lr: float = 0.3
    weight_decay: float = 5e-4
    momentum: float = 0.9
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float | None = None
    clip: float | None = None
    epochs: int = 100
    batch_size: int | None = None
    seed: int = 0
    precision: Literal["32", "bf16"] = "32"
    compile: bool = False
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int = field(default_factory=torch.get_num_threads)
    log_every: int = 10
    evaluate_every: int = 10
    checkpoint_every: int | None = None

    @classmethod
    def of(cls, method: str, **given: Any) -> Self:
        """The config of a method: its recipe's defaults, and over them what is given, settings of the method included.

        Raises:
            DataError: there is no such method, field or setting, or a value of a wrong type or range.
        """
        row = method_of(method)
        types = typing.get_type_hints(cls)
        settings = typed("settings", given.pop("settings", {}), dict)
        values = defaults_of(row.name)
        settings = values.pop("settings", {}) | settings
        for name, value in given.items():
            if name in types and name != "method":
                values[name] = typed(name, value, types[name])
            elif name in row.settings and name not in _BY_THE_RUN:
                settings[name] = value
            else:
                known = [*(n for n in types if n not in ("method", "settings")), *_settings_of(row)]
                raise DataError(f"there is no {name!r} to set", "config", suggest(name, known))
        unknown = sorted(set(settings) - set(_settings_of(row)))
        if unknown:
            raise DataError(
                f"{row.name} has no setting {unknown[0]!r}", "config", suggest(unknown[0], _settings_of(row))
            )
        if "data" not in values:
            raise DataError("says nothing to learn from", "config", "Give data=, a file or a folder.")
        values["settings"] = {name: typed(name, value, type(row.settings[name])) for name, value in settings.items()}
        return cls(method=row.name, **values)

    @classmethod
    def read(cls, path: str | Path, **given: Any) -> Self:
        """The config in a .toml or .json file, or in the config.json of a run; what is given beside it wins."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"cannot be read as TOML or JSON ({error})", path, "Check the file.") from error
        if isinstance(content, dict) and "torchicon" in content:
            content = content.get("arguments")
        if not isinstance(content, dict):
            raise DataError("holds no table of settings", path, "Write lines such as: method = 'SimCLR'.")
        together = content | given
        if not isinstance(together.get("method"), str):
            raise DataError("names no method", path, "Write a line such as: method = 'SimCLR'.")
        return cls.of(together.pop("method"), **together)

    def __post_init__(self) -> None:
        least = {
            "image_size": 8, "limit": 2, "neighbors": 1, "width": 1, "dimensions": 1, "head_layers": 1,
            "head_hidden": 1, "clusters": 2, "heads": 1, "queue_size": 1, "sampled": 1, "close_runs": 1,
            "close_clusters": 2, "close_every": 1, "lr": 0.0, "weight_decay": 0.0, "warmup_epochs": 0.0, "clip": 1e-9,
            "epochs": 1, "batch_size": 2, "seed": 0, "devices": 1, "nodes": 1, "threads": 1, "log_every": 1,
            "evaluate_every": 0, "checkpoint_every": 1,
        }  # fmt: skip
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                raise DataError(f"{name} must be at least {bound}, got {value}", "config", "Give another value.")
        for name in ("known", "momentum", "teacher_momentum", "bank_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} must lie in [0, 1], got {getattr(self, name)}", "config", "Give a share.")
        if self.bank_rate == 1:
            raise DataError("bank_rate 1 would never update the memory bank", "config", "Give less.")
        if self.test is not None and (self.test, self.test_split) == (self.data, self.split):
            raise DataError(
                "test is the data themselves", "config", "Leave it out: then a fifth of the samples is asked about."
            )
        if self.views not in POLICIES:
            raise DataError(f"there are no views {self.views!r}", "config", suggest(self.views, list(POLICIES)))
        if self.batch_size is not None and self.batch_size % (self.devices * self.nodes):
            raise DataError(
                f"batch_size {self.batch_size} cannot be shared by {self.devices} devices on {self.nodes} nodes",
                "config",
                "Give a multiple of their number.",
            )
        try:
            self.view_policy()
        except ValueError as error:
            raise DataError(str(error).rstrip("."), "config", "Give a probability or a range.") from error

    def row(self, *, n: int, iterations: int) -> Method:
        """The method with this config's settings, for a training of so many steps on n samples.

        A ball whose size is not given holds as large a share of the bank as the paper's on CIFAR-10; VINCE draws half
        of that many rows from as many.
        """
        method = find(self.method)
        ball = max(2, round(_BALL * n))
        follows = {"iterations": max(1, iterations), "size": ball, "drawn_from": ball, "negatives": ball // 2}
        return method.at(**{name: value for name, value in follows.items() if name in method.settings} | self.settings)

    def batch_of(self, n: int) -> int:
        """Samples of a step, of n there are."""
        if self.batch_size is not None:
            return self.batch_size
        ranks = self.devices * self.nodes
        return max(ranks, min(_BATCH, max(n // _STEPS, min(n, _SMALL))) // ranks * ranks)

    def view_policy(self) -> tuple[View, ...]:
        """The views, with the steps that this config changes."""
        changed = {name: value for name in _VIEW_FIELDS if (value := getattr(self, name)) is not None}
        if changed.get("crop") == 0:
            changed["crop"] = None
        return tuple(dataclasses.replace(view, **changed) for view in POLICIES[self.views])

    def to_dict(self) -> dict[str, Any]:
        """Every field, in JSON's types."""
        return dataclasses.asdict(self)


def method_of(name: str) -> Method:
    """The row of that name.

    Raises:
        DataError: there is none.
    """
    try:
        return find(name)
    except KeyError as error:
        raise DataError(str(error.args[0]).rstrip("."), "method", "`torchicon methods` lists all.") from error


def _settings_of(row: Method) -> list[str]:
    return [name for name in row.settings if name not in _BY_THE_RUN]
