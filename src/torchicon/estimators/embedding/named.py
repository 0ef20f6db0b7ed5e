"""The neighbor embeddings that have a name: t-SNE and SNE."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchicon.estimators.embedding.estimator import Callback, NeighborEmbedding, Neighborhood
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.neighborhoods import Gaussian, StudentT


class TSNE(NeighborEmbedding):
    r"""t-SNE (van der Maaten & Hinton 2008): KL of joint Gaussian affinities and a joint Student-t (theory 1, 2.1).

    Memory and time grow almost linearly with n: affinities on the 3 x perplexity nearest neighbors, repulsion by FFT
    interpolation in 1 to 3 dimensions.

    Args:
        n_components: dimensions of the map.
        perplexity: effective number of neighbors; less than the number of rows.
        df: degrees of freedom of the Student-t; below 1 the tails are heavier and clusters stand farther apart.
        early_exaggeration: factor on p in the first third of the iterations (250 at most).
        max_iter: iterations in all.
        learning_rate: n / (4 early_exaggeration), at least 50, when None; of Adam, and .003, with a ``mapper``.
        init: "pca", "random", or (n, n_components) positions.
        p: neighborhoods instead of the perplexity's; see `NeighborEmbedding`, as for the next four.
        mapper: an nn.Module to learn instead of free positions (parametric t-SNE).
        callback: called with (iteration, KL, positions) every 50 iterations.
        checkpoint: a file to keep the descent in; `fit` goes on from there if it exists.
        device: of the map's iterations.
        random_state: seed of a random start.
        verbose: show progress on the terminal.

    Attributes:
        embedding_: (n, n_components) positions, float32.
        kl_divergence_: KL(P || Q) at these positions in nats, in float64.
        n_iter_: iterations done.
        interrupted_: whether Ctrl-C ended it; the map is then that of the last whole iteration.
        mapper_: the trained module, if one was given.

    >>> from sklearn.datasets import load_iris
    >>> TSNE(max_iter=50, random_state=0, verbose=False).fit_transform(load_iris().data).shape
    (150, 2)
    """

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
        p: Neighborhood | None = None,
        mapper: nn.Module | None = None,
        callback: Callback | None = None,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__(
            n_components,
            p=p,
            perplexity=perplexity,
            early_exaggeration=early_exaggeration,
            max_iter=max_iter,
            learning_rate=learning_rate,
            init=init,
            mapper=mapper,
            callback=callback,
            checkpoint=checkpoint,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.df = df

    def _kernel(self) -> MapKernel:
        return MapKernel.of(StudentT(self.df))


class SNE(NeighborEmbedding):
    r"""SNE (Hinton & Roweis 2002): sum over rows of the KL of Gaussian affinities and a Gaussian (theory 2.1).

    Args:
        n_components: dimensions of the map.
        perplexity: effective number of neighbors; less than the number of rows.
        early_exaggeration: factor on p in the first third of the iterations (250 at most); 1 for none.
        max_iter: iterations in all.
        learning_rate: n / (4 early_exaggeration), at least 50, when None; of Adam, and .003, with a ``mapper``.
        init: "pca", "random", or (n, n_components) positions.
        p: neighborhoods instead of the perplexity's; see `NeighborEmbedding`, as for the next four.
        mapper: an nn.Module to learn instead of free positions.
        callback: called with (iteration, KL, positions) every 50 iterations.
        checkpoint: a file to keep the descent in; `fit` goes on from there if it exists.
        device: of the map's iterations.
        random_state: seed of a random start.
        verbose: show progress on the terminal.

    Attributes:
        embedding_: (n, n_components) positions, float32.
        kl_divergence_: sum over rows of KL(p_i || q_i) at these positions in nats, in float64.
        n_iter_: iterations done.
        interrupted_: whether Ctrl-C ended it; the map is then that of the last whole iteration.
        mapper_: the trained module, if one was given.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        early_exaggeration: float = 1.0,
        max_iter: int = 1000,
        learning_rate: float | None = None,
        init: Literal["pca", "random"] | NDArray[Any] = "pca",
        p: Neighborhood | None = None,
        mapper: nn.Module | None = None,
        callback: Callback | None = None,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__(
            n_components,
            p=p,
            normalization="row",
            perplexity=perplexity,
            early_exaggeration=early_exaggeration,
            max_iter=max_iter,
            learning_rate=learning_rate,
            init=init,
            mapper=mapper,
            callback=callback,
            checkpoint=checkpoint,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )

    def _kernel(self) -> MapKernel:
        return MapKernel.of(Gaussian(math.sqrt(0.5)))
