"""Any p, any q, any mapper: the equation itself as an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from torchicon.core import Kernel, Rows, joint_kl, objective, wide
from torchicon.estimators._base import Float32Transformer, seed_of
from torchicon.estimators._progress import steps
from torchicon.estimators._slots import DIVERGENCES, arguments_of, require_learnable, sources_of, supervisory
from torchicon.mappers import linear, mlp, orthonormal
from torchicon.methods import Method, find
from torchicon.neighborhoods import Cosine, NearestGaussian, StudentT

Neighborhood = Callable[..., Rows]
Divergence = Literal["kl", "cross_entropy", "wide", "narrow", "both_wide"] | Callable[[Rows, Rows], Tensor]
_MAPPERS: dict[str, Callable[..., nn.Module]] = {"linear": linear, "mlp": mlp, "orthonormal": orthonormal}


class ICon(Float32Transformer):
    r"""Learn z = f(x) by minimizing $\sum_i w_i\,\mathrm{KL}(p_i \| q_i)$ for a p and a q of your choice.

    Source: I-Con, eq. 1.

    Args:
        p: supervisory neighborhood: a function from points (n, d) to `Rows`, such as ``KNN(15)``; from labels (n,) if
            ``supervised``. Default: ``NearestGaussian(30)``, as t-SNE. A function whose parameters are named among
            x, label and z gets those; one that takes z, the representations, is learned as well.
        q: learned neighborhood: a function from representations (b, n_components) to `Rows`. Default ``StudentT()``.
        mapper: "linear", "mlp", "orthonormal" (a linear map that keeps W W^T = I), or an nn.Module from (b, d) to
            (b, n_components), which is trained in place.
        n_components: dimensions of z; a module of your own decides them itself.
        supervised: p is made from ``y`` instead of ``X``.
        direction: "forward" is KL(p || q), "reverse" KL(q || p).
        weights: "mean", "sum", or "joint" for one distribution over all cells (needs a jointly normalized p).
        divergence: `kl`, one of its limits `wide`, `narrow` and `both_wide`, or `cross_entropy`.
        epochs: passes over the data, or steps where all of it is one batch.
        batch_size: anchors a step, which are each other's candidates; all of them when omitted.
        learning_rate: of Adam, falling to zero along a cosine.
        random_state: seed of mapper and batches.
        verbose: show progress on the terminal.

    Attributes:
        mapper_: the trained module.
        embedding_: (n, n_components) representations of the training rows.
        loss_: objective of the last epoch, nats.

    >>> from torchicon import KNN, Cosine
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> ICon(p=KNN(5), q=Cosine(0.5), epochs=5, random_state=0, verbose=False).fit_transform(X).shape
    (50, 2)
    """

    def __init__(
        self,
        p: Neighborhood | None = None,
        q: Neighborhood | None = None,
        *,
        mapper: Literal["linear", "mlp", "orthonormal"] | nn.Module = "linear",
        n_components: int = 2,
        supervised: bool = False,
        direction: Literal["forward", "reverse"] = "forward",
        weights: Literal["mean", "sum", "joint"] = "mean",
        divergence: Divergence = "kl",
        epochs: int = 300,
        batch_size: int | None = None,
        learning_rate: float = 1e-2,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        self.p = p
        self.q = q
        self.mapper = mapper
        self.n_components = n_components
        self.supervised = supervised
        self.direction = direction
        self.weights = weights
        self.divergence = divergence
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def of(cls, method: Method | str, **settings: Any) -> Self:
        """The estimator of a method of the periodic table, or of one of your own; settings are the other arguments.

        The row's own constants stay, such as SNE's perplexity of 5: give ``p=`` or ``q=`` for others. Where the package
        has an estimator of the method (`TSNE`, `SNE`, `KMeans`, `Clustering`), that one is faster and starts better.

        Raises:
            KeyError: no method of the table has that name.
            ValueError: the method needs more than points, labels and one representation.

        >>> ICon.of("SNE", n_components=3).n_components
        3
        """
        return cls(**{**arguments_of(find(method) if isinstance(method, str) else method), **settings})

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train the mapper on X (n, d), and y (n,) integer labels if ``supervised``; y is ignored otherwise.

        Raises:
            ValueError: bad input, no labels for a supervised p, a p or q that does not fit the rest, or a loss that
                does not depend on the representation.
        """
        x = torch.from_numpy(self._features(X, reset=True, minimum=2)).float()
        self._check(x, y)
        seed = seed_of(self.random_state)
        self.mapper_ = self._make_mapper(x.shape[1], seed)
        self.mapper_.train()
        batches = _Batches(len(x), self.batch_size, torch.Generator().manual_seed(seed))
        total = self.epochs * batches.per_epoch
        p, q = self._neighborhoods(x, y, batches.whole)
        optimizer = torch.optim.Adam(self.mapper_.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * t / total)))
        for _ in steps(self.epochs, "I-Con", show=self.verbose):
            losses: list[float] = []
            for index in batches:
                z = self.mapper_(x if batches.whole else x[index])
                rows = p(index, z)
                if not batches.whole and bool(rows.empty_anchors().all()):
                    continue  # by chance nobody's neighbor is in the batch
                optimizer.zero_grad(set_to_none=True)
                loss = self._loss(rows, q(z))
                require_learnable(loss)
                if not torch.isfinite(loss):
                    raise ValueError(f"The loss became {loss.item()}: lower learning_rate ({self.learning_rate}).")
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
            if not losses:
                raise ValueError(
                    f"In no batch of {batches.size} does any anchor have a neighbor: give a larger batch_size, "
                    "or a p with more neighbors."
                )
            self.loss_ = sum(losses) / len(losses)
        self.embedding_ = self._map(x)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Representations (n, n_components) of points X (n, d), new ones too, in float32."""
        check_is_fitted(self)
        return self._map(torch.from_numpy(self._features(X, reset=False)).float())

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Minus the objective on X, all of it one batch: larger is better."""
        check_is_fitted(self)
        x = torch.from_numpy(self._features(X, reset=False)).float()
        p, q = self._neighborhoods(x, y, True)
        with torch.no_grad():
            z = torch.from_numpy(self._map(x))
            return -float(self._loss(p(torch.arange(len(x)), z), q(z)))

    def _neighborhoods(
        self, x: Tensor, y: ArrayLike | None, whole: bool
    ) -> tuple[Callable[[Tensor, Tensor], Rows], Neighborhood]:
        p: Neighborhood = NearestGaussian(30.0) if self.p is None else self.p
        q: Neighborhood = StudentT() if self.q is None else self.q
        sources = sources_of(p, supervised=self.supervised)
        given = {"x": x} | ({"label": _labels(y, len(x))} if "label" in sources else {})
        return supervisory(p, sources, given, whole=whole), q

    def _loss(self, p: Rows, q: Rows) -> Tensor:
        divergence = self.divergence if callable(self.divergence) else DIVERGENCES[self.divergence]
        if divergence is wide and isinstance(q, Kernel) and not isinstance(q.score, Cosine):
            self._require_bounded()
        if self.weights == "joint":
            return joint_kl(p, q) if self.direction == "forward" else joint_kl(q, p)
        return objective(p, q, direction=self.direction, weights=self.weights, divergence=divergence)

    def _require_bounded(self) -> None:
        if self.mapper in ("linear", "mlp"):
            raise ValueError(
                f"As a kernel widens, spread is rewarded without bound, and mapper={self.mapper!r} has "
                "none: use mapper='orthonormal' (PCA), a module with bounded outputs, or a q on the sphere, Cosine()."
            )

    @torch.no_grad()
    def _map(self, x: Tensor) -> NDArray[np.float32]:
        self.mapper_.eval()
        z: NDArray[np.float32] = torch.cat([self.mapper_(part) for part in torch.split(x, 8192)]).numpy()
        return z

    def _make_mapper(self, n_features: int, seed: int) -> nn.Module:
        if isinstance(self.mapper, nn.Module):
            return self.mapper
        return _MAPPERS[self.mapper](n_features, self.n_components, seed=seed)

    def _restore_module(self, name: str, state: dict[str, Tensor]) -> None:
        module = self._make_mapper(self.n_features_in_, 0)
        module.load_state_dict(state)
        setattr(self, name, module)

    def _check(self, x: Tensor, y: ArrayLike | None) -> None:
        if not isinstance(self.mapper, nn.Module) and self.mapper not in _MAPPERS:
            raise ValueError(f"mapper must be one of {', '.join(_MAPPERS)}, or an nn.Module, got {self.mapper!r}.")
        for name, made in (("p", self.p), ("q", self.q)):
            if made is not None and not callable(made):
                raise ValueError(f"{name} must be a function to Rows, such as KNN(15) or StudentT(), got {made!r}.")
        if self.direction not in ("forward", "reverse") or self.weights not in ("mean", "sum", "joint"):
            raise ValueError(
                "direction must be 'forward' or 'reverse', and weights 'mean', 'sum' or 'joint', "
                f"got {self.direction!r} and {self.weights!r}."
            )
        if self.supervised and y is None:
            raise ValueError("supervised=True makes p from labels: requires y to be passed, but the target y is None.")
        if not callable(self.divergence) and self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {self.divergence!r}.")
        if self.weights == "joint" and self.divergence != "kl":
            raise ValueError("weights='joint' is one KL over all cells: it has no other divergence.")
        if self.epochs < 1 or self.n_components < 1:
            raise ValueError(f"epochs and n_components must be at least 1, got {self.epochs}, {self.n_components}.")
        if self.batch_size is not None and self.batch_size < 2:
            raise ValueError(f"A batch needs at least two anchors, got batch_size={self.batch_size}.")
        if self.p is None and self.supervised:
            raise ValueError("supervised=True makes p from labels: give p, such as Positives() or Classes().")
        if self.p is None and len(x) < 91:
            raise ValueError(f"The default p, NearestGaussian(30), wants more than 90 points, got {len(x)}; give p.")

    def __sklearn_tags__(self) -> Any:
        """Needs y if p is made from labels."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.supervised
        return tags


class _Batches:
    """Seeded batches of indices; a last one too small to be its own candidates is left out."""

    def __init__(self, n: int, size: int | None, generator: torch.Generator) -> None:
        self.n, self.size, self.generator = n, min(size or n, n), generator
        self.whole = self.size == n
        self.per_epoch = max(1, n // self.size)

    def __iter__(self) -> Iterator[Tensor]:
        if self.whole:
            yield torch.arange(self.n)
            return
        order = torch.randperm(self.n, generator=self.generator)
        for batch in range(self.per_epoch):
            yield order[batch * self.size : (batch + 1) * self.size]


def _labels(y: ArrayLike | None, n: int) -> Tensor:
    if y is None:
        raise ValueError("p is made from labels: requires y to be passed, but the target y is None.")
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise ValueError(f"y must have shape ({n},), a label for each row of X, got {labels.shape}.")
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1].astype(np.int64))
