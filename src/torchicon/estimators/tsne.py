"""Neighbor embedding as estimators: t-SNE and SNE."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from torchicon.estimators._base import Float32Transformer, seed_of
from torchicon.estimators._edges import joint_edges, row_edges
from torchicon.estimators._embedding import Descent, Normalization, embed
from torchicon.estimators._placing import place
from torchicon.estimators._progress import Bar
from torchicon.estimators._radial import Gaussian, Radial, StudentT
from torchicon.neighborhoods import NearestGaussian
from torchicon.neighborhoods.nearest import nearest
from torchicon.neighborhoods.perplexity import calibrate


class _NeighborEmbedding(Float32Transformer, ABC):
    """What t-SNE and SNE share; they differ in kernel and normalization."""

    _normalization: Normalization

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        early_exaggeration: float = 1.0,
        max_iter: int = 1000,
        learning_rate: float | None = None,
        init: Literal["pca", "random"] | NDArray[Any] = "pca",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.init = init
        self.random_state = random_state
        self.verbose = verbose

    @abstractmethod
    def _kernel(self) -> Radial:
        """The kernel of the map."""

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Map X (n, d); y is ignored.

        Raises:
            ValueError: a perplexity that is not below the number of other rows, NaN or infinity (named by row and
                column), or an argument out of its range.
        """
        x = torch.from_numpy(self._features(X, reset=True, minimum=2))
        self._check(x)
        seed = seed_of(self.random_state)
        neighborhood = NearestGaussian(self.perplexity)(x)
        k = neighborhood.width()
        index, log_p = neighborhood.columns.view(len(x), k), neighborhood.log_p.view(len(x), k)
        edges = joint_edges(index, log_p) if self._normalization == "joint" else row_edges(index, log_p)
        early = min(250, self.max_iter // 3)
        descent = Descent(
            exaggeration=self.early_exaggeration,
            exaggerated_iterations=early,
            iterations=self.max_iter - early,
            learning_rate=self.learning_rate,
        )
        with Bar(self.max_iter, type(self).__name__, show=self.verbose) as bar:
            found = embed(
                edges,
                self._start(x, seed),
                self._kernel(),
                normalization=self._normalization,
                descent=descent,
                callback=lambda iteration, kl: bar.at(iteration, f"KL {kl:.3f}"),
                seed=seed,
            )
        self.embedding_ = found.positions.numpy()
        self.kl_divergence_ = found.objective
        self.n_iter_ = found.iterations
        self.interrupted_ = found.interrupted
        self.training_features_ = x.numpy()
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> NDArray[np.float32]:
        """Map X (n, d) and return the positions (n, n_components)."""
        positions: NDArray[np.float32] = self.fit(X).embedding_
        return positions

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Place rows X (m, d) on the finished map: each minimizes its own KL against the frozen points.

        New rows do not see each other. A row that equals training rows gets the position of the first of them.
        """
        check_is_fitted(self)
        x = torch.from_numpy(self._features(X, reset=False))
        train = torch.from_numpy(self.training_features_)
        k = min(math.ceil(3 * self.perplexity), len(train))
        found = nearest(train, k, queries=x)
        log_p = calibrate(found.value, min(self.perplexity, k)).log_p
        frozen = torch.from_numpy(self.embedding_)
        known = found.value[:, :1] == 0
        placed = torch.where(known, frozen[found.index[:, 0]], place(found.index, log_p, frozen, self._kernel()))
        positions: NDArray[np.float32] = placed.numpy()
        return positions

    def _start(self, x: Tensor, seed: int) -> Tensor:
        """Principal components or noise of standard deviation 1e-4, or what was given, in float32."""
        if not isinstance(self.init, str):
            start = torch.as_tensor(np.asarray(self.init), dtype=torch.float32)
            if start.shape != (len(x), self.n_components):
                raise ValueError(f"init must be ({len(x)}, {self.n_components}), got {tuple(start.shape)}.")
            return start
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(x), self.n_components, generator=generator) * 1e-4
        if self.init == "random":
            return noise
        centered = x.double() - x.double().mean(0)
        spread = float(centered.square().mean().sqrt())
        if spread == 0:
            return noise
        centered = centered / spread
        axes = torch.linalg.eigh(centered.T @ centered).eigenvectors.flip(1)[:, : self.n_components]
        # An axis is known up to its sign only; make its largest coordinate positive.
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        start = centered @ axes
        start = 1e-4 * start / start[:, 0].std(correction=0)
        missing = self.n_components - start.shape[1]
        return torch.cat([start.float(), noise[:, :missing]], 1)

    def _check(self, x: Tensor) -> None:
        if self.n_components < 1 or self.max_iter < 1:
            raise ValueError(f"n_components and max_iter must be at least 1, got {self.n_components}, {self.max_iter}.")
        if not 1 <= self.perplexity < len(x):
            raise ValueError(
                f"perplexity counts neighbors: it must be at least 1 and less than n_samples={len(x)}, "
                f"got {self.perplexity}."
            )
        if isinstance(self.init, str) and self.init not in ("pca", "random"):
            raise ValueError(f"init must be 'pca', 'random' or an array, got {self.init!r}.")


class TSNE(_NeighborEmbedding):
    r"""t-SNE (van der Maaten & Hinton 2008): KL of joint Gaussian affinities and a joint Student-t (theory 1, 2.1).

    Memory and time grow almost linearly with n: affinities on the 3 x perplexity nearest neighbors, repulsion by FFT
    interpolation in 1 to 3 dimensions.

    Args:
        n_components: dimensions of the map.
        perplexity: effective number of neighbors; less than the number of rows.
        df: degrees of freedom of the Student-t; below 1 the tails are heavier and clusters stand farther apart.
        early_exaggeration: factor on p in the first third of the iterations (250 at most).
        max_iter: iterations in all.
        learning_rate: n / (4 early_exaggeration), at least 50, when None.
        init: "pca", "random", or (n, n_components) positions.
        random_state: seed of a random start.
        verbose: show progress on the terminal.

    Attributes:
        embedding_: (n, n_components) positions, float32.
        kl_divergence_: KL(P || Q) at these positions in nats, by exact sums.
        n_iter_: iterations done.
        interrupted_: whether Ctrl-C ended it; the map is then that of the last whole iteration.

    >>> from sklearn.datasets import load_iris
    >>> TSNE(max_iter=50, random_state=0, verbose=False).fit_transform(load_iris().data).shape
    (150, 2)
    """

    _normalization: Normalization = "joint"

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        df: float = 1.0,
        early_exaggeration: float = 12.0,
        max_iter: int = 1000,
        learning_rate: float | None = None,
        init: Literal["pca", "random"] | NDArray[Any] = "pca",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__(
            n_components,
            perplexity=perplexity,
            early_exaggeration=early_exaggeration,
            max_iter=max_iter,
            learning_rate=learning_rate,
            init=init,
            random_state=random_state,
            verbose=verbose,
        )
        self.df = df

    def _kernel(self) -> Radial:
        return StudentT(self.df)


class SNE(_NeighborEmbedding):
    r"""SNE (Hinton & Roweis 2002): sum over rows of the KL of Gaussian affinities and a Gaussian (theory 2.1).

    Args:
        n_components: dimensions of the map.
        perplexity: effective number of neighbors; less than the number of rows.
        early_exaggeration: factor on p in the first third of the iterations (250 at most); 1 for none.
        max_iter: iterations in all.
        learning_rate: n / (4 early_exaggeration), at least 50, when None.
        init: "pca", "random", or (n, n_components) positions.
        random_state: seed of a random start.
        verbose: show progress on the terminal.

    Attributes:
        embedding_: (n, n_components) positions, float32.
        kl_divergence_: sum over rows of KL(p_i || q_i) at these positions in nats, by exact sums.
        n_iter_: iterations done.
        interrupted_: whether Ctrl-C ended it; the map is then that of the last whole iteration.
    """

    _normalization: Normalization = "row"

    def _kernel(self) -> Radial:
        return Gaussian()
