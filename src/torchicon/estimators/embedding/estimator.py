"""Neighbor embedding as estimators: any p and radial q, t-SNE and SNE."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from torchicon.core import Rows
from torchicon.core.score import Radial
from torchicon.estimators._base import Float32Transformer, seed_of
from torchicon.estimators._progress import Bar
from torchicon.estimators.embedding.checkpoint import Checkpoint
from torchicon.estimators.embedding.descent import Descent, Embedding, State, embed
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import Normalization, weights
from torchicon.estimators.embedding.parametric import learn_map
from torchicon.estimators.embedding.placing import place
from torchicon.estimators.embedding.starts import start_of
from torchicon.neighborhoods import NearestGaussian, StudentT
from torchicon.neighborhoods.nearest import nearest
from torchicon.neighborhoods.perplexity import calibrate

Neighborhood = Rows | Callable[[Tensor], Rows]
Callback = Callable[[int, float, NDArray[np.float32]], None]


class NeighborEmbedding(Float32Transformer):
    r"""A map whose q, a kernel of the distance, comes nearest to p: KL(p || q), jointly or by rows (theory 1).

    `TSNE` and `SNE` are the two with a name. Memory and time grow almost linearly with n: the attraction runs over the
    edges of p, the repulsion by FFT interpolation in 1 to 3 dimensions (exact in more, and for few points).

    Args:
        n_components: dimensions of the map.
        p: neighborhoods of the points: a recipe such as ``KNN(15)``, or rows made already, such as
            ``NearestGaussian(30.0).from_neighbors(index, sq_dist)`` of neighbors you have. Left out,
            ``NearestGaussian(perplexity)``.
        q: kernel of the map, such as ``StudentT()``, ``Gaussian()``, ``Exponential()``; left out, ``StudentT()``.
        normalization: "joint" makes p symmetric and normalizes over all pairs, "row" over the neighbors of each point.
        perplexity: effective number of neighbors; less than the number of rows. With a p of its own, used for new rows.
        early_exaggeration: factor on p in the first third of the iterations (250 at most); 1 for none.
        max_iter: iterations in all.
        learning_rate: n / (4 early_exaggeration), at least 50, when None; of Adam, and .003, with a ``mapper``.
        init: "pca", "random", or (n, n_components) positions.
        mapper: an nn.Module from (n, d) float32 to (n, n_components): learn it instead of free positions. It is copied;
            `transform` then is this module.
        callback: called with (iteration, KL, positions) every 50 iterations.
        checkpoint: a file to keep the descent in; `fit` goes on from there if it exists.
        device: of the map's iterations.
        random_state: seed of a random start.
        verbose: show progress on the terminal.

    Attributes:
        embedding_: (n, n_components) positions, float32.
        kl_divergence_: KL(P || Q) at these positions in nats, in float64: of the joint distributions, or summed over
            the rows.
        n_iter_: iterations done.
        interrupted_: whether Ctrl-C ended it; the map is then that of the last whole iteration.
        mapper_: the trained module, if one was given.

    >>> from sklearn.datasets import load_iris
    >>> from torchicon import KNN, Exponential
    >>> embedding = NeighborEmbedding(p=KNN(15), q=Exponential(), max_iter=50, random_state=0, verbose=False)
    >>> embedding.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        p: Neighborhood | None = None,
        q: Radial | None = None,
        normalization: Normalization = "joint",
        perplexity: float = 30.0,
        early_exaggeration: float = 12.0,
        max_iter: int = 1000,
        learning_rate: float | None = None,
        init: Literal["pca", "random"] | NDArray[Any] = "pca",
        mapper: nn.Module | None = None,
        callback: Callback | None = None,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        self.n_components = n_components
        self.p = p
        self.q = q
        self.normalization = normalization
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.init = init
        self.mapper = mapper
        self.callback = callback
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _kernel(self) -> MapKernel:
        """The kernel of the map."""
        return MapKernel.of(StudentT() if self.q is None else self.q)

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Map X (n, d); y is ignored.

        Raises:
            ValueError: a perplexity that is not below the number of other rows, NaN or infinity (named by row and
                column), an argument out of its range, or a checkpoint of another map.
            TypeError: a ``p`` that gives no neighborhoods, or a ``q`` that is no kernel of the distance.
        """
        x = torch.from_numpy(self._features(X, reset=True, minimum=2))
        self._check(len(x))
        kernel, seed = self._kernel(), seed_of(self.random_state)
        rows = NearestGaussian(self.perplexity)(x) if self.p is None else self.p
        rows = rows if isinstance(rows, Rows) else rows(x)
        if not isinstance(rows, Rows) or rows.n != len(x):
            raise TypeError(f"p must be, or make of X, neighborhoods of its {len(x)} rows, got {rows!r}.")
        p = weights(rows, self.normalization)
        early = min(250, self.max_iter // 3)
        descent = Descent(
            exaggeration=self.early_exaggeration,
            exaggerated_iterations=early,
            iterations=self.max_iter - early,
            learning_rate=self.learning_rate,
        )
        with Bar(self.max_iter, type(self).__name__, show=self.verbose) as bar:

            def report(iteration: int, kl: float, positions: Tensor) -> None:
                bar.at(iteration, f"KL {kl:.3f}")
                if self.callback is not None:
                    self.callback(iteration, kl, _in_units(positions, kernel))

            if self.mapper is None:
                start = start_of(x, self.n_components, self.init, seed) / kernel.unit
                found = self._descend(p, start.to(self.device), kernel, descent, report, seed)
            else:
                self.mapper_ = copy.deepcopy(self.mapper).to(self.device)
                points = x.float().to(self.device)
                found = learn_map(
                    p,
                    points,
                    self.mapper_,
                    kernel,
                    normalization=self.normalization,
                    descent=descent,
                    callback=report,
                )
        self.embedding_ = _in_units(found.positions, kernel)
        self.kl_divergence_ = found.objective
        self.n_iter_ = found.iterations
        self.interrupted_ = found.interrupted
        self.training_features_ = x.numpy()
        return self

    def _descend(
        self,
        p: Any,
        start: Tensor,
        kernel: MapKernel,
        descent: Descent,
        report: Callable[[int, float, Tensor], None],
        seed: int,
    ) -> Embedding:
        kept = None
        if self.checkpoint is not None:
            kept = Checkpoint(self.checkpoint, p, start, kernel, f"{self.normalization} {seed}", descent)

        def look(state: State) -> None:
            if kept is not None:
                kept.write(state)
            report(*state.history[-1], state.y)

        return embed(
            p,
            start,
            kernel,
            normalization=self.normalization,
            descent=descent,
            callback=look,
            resume=None if kept is None else kept.read(),
            seed=seed,
        )

    def fit_transform(self, X: ArrayLike, y: Any = None) -> NDArray[np.float32]:
        """Map X (n, d) and return the positions (n, n_components)."""
        positions: NDArray[np.float32] = self.fit(X).embedding_
        return positions

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Place rows X (m, d) on the finished map: each minimizes its own KL against the frozen points.

        New rows do not see each other. A row that equals training rows gets the position of the first of them. With a
        ``mapper``, what it makes of X.
        """
        check_is_fitted(self)
        x = torch.from_numpy(self._features(X, reset=False))
        kernel = self._kernel()
        if self.mapper is not None:
            with torch.no_grad():
                return _in_units(self.mapper_(x.float().to(self.device)) / kernel.unit, kernel)
        train = torch.from_numpy(self.training_features_)
        k = min(math.ceil(3 * self.perplexity), len(train))
        found = nearest(train, k, queries=x)
        log_p = calibrate(found.value, min(self.perplexity, k)).log_p
        frozen = torch.from_numpy(self.embedding_)
        placed = place(found.index, log_p, frozen / kernel.unit, kernel) * kernel.unit
        known = found.value[:, :1] == 0
        positions: NDArray[np.float32] = torch.where(known, frozen[found.index[:, 0]], placed).numpy()
        return positions

    def _restore_module(self, name: str, state: dict[str, Tensor]) -> None:
        module = copy.deepcopy(self.mapper)
        if module is None:
            raise AttributeError(f"{name} belongs to no mapper")
        module.load_state_dict(state)
        setattr(self, name, module.eval())

    def _check(self, n: int) -> None:
        if self.n_components < 1 or self.max_iter < 1:
            raise ValueError(f"n_components and max_iter must be at least 1, got {self.n_components}, {self.max_iter}.")
        if not 1 <= self.perplexity < n and self.p is None:
            raise ValueError(
                f"perplexity counts neighbors: it must be at least 1 and less than n_samples={n}, "
                f"got {self.perplexity}."
            )
        if self.mapper is not None and not isinstance(self.mapper, nn.Module):
            raise TypeError(f"mapper must be an nn.Module, got {self.mapper!r}.")
        if self.mapper is not None and self.checkpoint is not None:
            raise ValueError("A checkpoint keeps free positions: with a mapper, save the module in a callback.")


def _in_units(positions: Tensor, kernel: MapKernel) -> NDArray[np.float32]:
    result: NDArray[np.float32] = (positions * kernel.unit).float().cpu().numpy()
    return result
