"""Unsupervised classification: the I-Con paper's own system, with defaults that need no labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from torchicon.core import Rows, Sparse
from torchicon.core.numerics import row_blocks
from torchicon.estimators._base import Float32Transformer, check_clusters, seed_of
from torchicon.estimators._progress import steps
from torchicon.estimators.clustering import pipeline
from torchicon.estimators.clustering.graph import knn_graph
from torchicon.estimators.clustering.heads import Heads
from torchicon.estimators.clustering.scaling import Scaler, Scaling, fit_scaler
from torchicon.estimators.clustering.training import Normalization
from torchicon.neighborhoods import propagate

_COSINE_DIMENSIONS = 10  # with fewer, the length of a vector says too much to be ignored


class Clustering(ClusterMixin, Float32Transformer):  # type: ignore[misc]
    r"""Cluster features without labels by debiased InfoNCE clustering (I-Con, section 4; theory 2.4).

    A kNN graph says who should be neighbors; heads learn cluster probabilities phi that reach those neighbors by way of
    a cluster, minimizing $\mathrm{KL}(p \| q)$ with $q_{j|i} = \sum_c \phi_{ic} \phi_{jc} / n_c$. Many heads start from
    K-Means with ``merge`` times too many clusters, learn, and are merged to ``n_clusters`` where that loses the least
    of the graph; the consensus of the better half is taught to one head, which is kept. Plain K-Means stands in
    whenever the consensus does not keep clearly more of the graph. Labels play no part in any of it.

    Arrays that are memory-mapped (`numpy.load(..., mmap_mode="r")`), and those in float16, are read in blocks: what is
    kept of a row are at most 128 principal components in float32.

    Args:
        n_clusters: number of clusters c.
        p: the graph, if not that of ``n_neighbors`` by ``metric``: rows made already, such as
            ``Sparse.from_neighbors(index, candidates=Candidates.all(n))`` of k neighbors (n, k) you have, or a recipe
            for the scaled features such as ``KNN(15)``.
        n_neighbors: k of the graph.
        walks: steps of the walks on it; 1 is the kNN graph itself.
        metric: "cosine", "euclidean", or "auto": cosine from 10 dimensions on.
        scaling: "global" divides all columns by one number, "standard" each by its own deviation; "auto" standardizes
            columns that are in different units (`scaling.fit_scaler`).
        debias_p: uniform share of p, in [0, 1).
        debias_q: uniform share of q, in (0, 1): without any, an edge across clusters costs without bound.
        normalization: "cluster" or "point", as in `torchicon.Clusters`.
        mapper: "linear" heads, or "mlp" with one hidden layer of 128.
        start: heads start from "kmeans" or at "random". One head from a random start is kept as it is: there is
            nothing to agree with, and K-Means is not asked.
        n_heads: heads trained at once; 1 leaves nothing to choose or to agree.
        merge: how many times too many clusters the heads learn first, though at least 16 of them, and at most 1,000 or
            a fifth of the rows; 1 for none.
        steps: optimizer steps, with another 3/8 of them after merging.
        learning_rate: of Adam, falling to zero along a cosine.
        ema: decay of a teacher that scores the neighbors, such as 0.99; None for no teacher.
        device: where the features are kept as components, and everything is learned.
        random_state: seed; the same seed gives the same result.
        verbose: show progress on the terminal.

    Attributes:
        labels_: (n,) cluster of each training row.
        notes_: what was done, and why, in sentences.
        loss_: KL(p || q) of the final head, nats; over 200,000 drawn edges if there are more, or p is debiased.

    >>> from sklearn.datasets import make_blobs
    >>> X, _ = make_blobs(200, centers=3, random_state=0)
    >>> model = Clustering(3, steps=50, n_heads=4, random_state=0, verbose=False).fit(X)
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        p: Rows | Callable[[Tensor], Rows] | None = None,
        n_neighbors: int = 10,
        walks: int = 1,
        metric: Literal["auto", "cosine", "euclidean"] = "auto",
        scaling: Scaling = "auto",
        debias_p: float = 0.0,
        debias_q: float = 0.3,
        normalization: Normalization = "cluster",
        mapper: Literal["linear", "mlp"] = "linear",
        start: Literal["kmeans", "random"] = "kmeans",
        n_heads: int = 16,
        merge: int = 3,
        steps: int = 400,
        learning_rate: float = 0.1,
        ema: float | None = None,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = True,
    ) -> None:
        self.n_clusters = n_clusters
        self.p = p
        self.n_neighbors = n_neighbors
        self.walks = walks
        self.metric = metric
        self.scaling = scaling
        self.debias_p = debias_p
        self.debias_q = debias_q
        self.normalization = normalization
        self.mapper = mapper
        self.start = start
        self.n_heads = n_heads
        self.merge = merge
        self.steps = steps
        self.learning_rate = learning_rate
        self.ema = ema
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def icon_paper(cls, n_clusters: int = 8, **changes: Any) -> Self:
        """The paper's own recipe: one linear head from a random start, walks and both debiased, an averaged teacher.

        No overclustering, no choice among heads, no consensus. It needs thousands of steps; ``changes`` override.
        """
        recipe = {
            "walks": 2,
            "debias_p": 0.6,
            "debias_q": 0.6,
            "start": "random",
            "n_heads": 1,
            "merge": 1,
            "steps": 3000,
            "learning_rate": 1e-3,
            "ema": 0.99,
        }
        return cls(n_clusters, **{**recipe, **changes})

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Find the clusters of X (n, d); y is ignored.

        Raises:
            ValueError: fewer rows than clusters, or than two; NaN or infinity, named by row and column; an argument
                out of its range; a row without neighbors in ``p``.
            TypeError: a ``p`` that is no sparse graph of these rows.

        Warns:
            ConvergenceWarning: fewer clusters came out than were asked for.
        """
        x = self._points(X, reset=True, minimum=2)
        self._check(len(x))
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        scaler = fit_scaler(x, self.scaling, n_clusters=self.n_clusters, generator=generator)
        graph, found = self._graph(scaler(x, torch.device(self.device)))
        scaled = scaler(x, torch.device(self.device))  # anew: the graph was made of directions in the same memory
        recipe = pipeline.Recipe(
            n_clusters=self.n_clusters,
            n_heads=self.n_heads,
            merge=self.merge,
            mapper=self.mapper,
            start=self.start,
            steps=self.steps,
            learning_rate=self.learning_rate,
            debias_p=self.debias_p,
            debias_q=self.debias_q,
            normalization=self.normalization,
            ema=self.ema,
        )
        head, self.loss_, told = pipeline.run(
            scaled, graph, recipe, generator, lambda count: steps(count, "clustering", show=self.verbose)
        )
        self._keep(head, scaler)
        self.labels_ = head.labels(scaled)[0].cpu().numpy()
        self.notes_ = [scaler.reason, found, *told, self._tell_sizes()]
        return self

    def _graph(self, x: Tensor) -> tuple[Sparse, str]:
        """The neighborhoods of scaled features, and what they are in a sentence."""
        n = len(x)
        walked = f", and walks of up to {self.walks} steps" if self.walks > 1 else ""
        if self.p is None:
            cosine = self.metric == "cosine" or (self.metric == "auto" and x.shape[1] >= _COSINE_DIMENSIONS)
            k = min(self.n_neighbors, n - 1)
            graph, recall = knn_graph(x, k, cosine=cosine)
            missed = f" (an approximate search, recall {recall:.3f})" if recall < 1 else ""
            told = f"the {k} nearest neighbors of each of {n} rows by {'cosine' if cosine else 'Euclidean'} distance"
            return self._walked(graph), f"Graph: {told}{missed}{walked}."
        given = self.p if isinstance(self.p, Rows) else self.p(x)
        if not isinstance(given, Sparse) or not given.n == given.m == n:
            raise TypeError(
                f"p must be, or make of the scaled features, Sparse neighborhoods among the {n} rows, got {given!r}. "
                "Of k nearest neighbors (n, k): Sparse.from_neighbors(index, candidates=Candidates.all(n))."
            )
        if given.empty_anchors().any():
            row = int(given.empty_anchors().nonzero()[0])
            raise ValueError(f"Row {row} has no neighbor in p: leave it out, or give it one.")
        graph = Sparse(
            given.indptr.to(x.device),
            given.columns.to(x.device),
            given.log_p.detach().to(x.device),
            candidates=given.candidates,
        )
        return self._walked(graph), f"Graph: as given, {len(graph.columns)} edges among {n} rows{walked}."

    def _walked(self, graph: Sparse) -> Sparse:
        return graph if self.walks == 1 else propagate(graph, self.walks)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Cluster probabilities (n, c) of rows X (n, d), new ones too."""
        return np.concatenate([phi[0].cpu().numpy() for phi in self._blocks(X)])

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Most probable cluster (n,) of rows X (n, d), new ones too."""
        return np.concatenate([phi[0].argmax(1).cpu().numpy() for phi in self._blocks(X)])

    def _blocks(self, X: ArrayLike) -> Iterator[Tensor]:
        """Cluster probabilities (1, t, c) of blocks of rows."""
        check_is_fitted(self)
        device = torch.device(self.device)
        scaler = Scaler(torch.from_numpy(self.center_), torch.from_numpy(self.projection_), "")
        x, head = self._points(X, reset=False), self._head().to(device)
        for rows in row_blocks(len(x), 24 * x.shape[1]):
            yield from (phi for _, phi in head.blocks(scaler(x[rows], device)))

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """`predict_proba`, under the name that a pipeline asks for: c numbers that say where a row belongs."""
        return self.predict_proba(X)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean information in nats that a row's cluster gives about X's clusters: larger is crisper and more even."""
        phi = torch.from_numpy(self.predict_proba(X)).double()
        each = torch.special.entr(phi).sum(1).mean()
        return float(torch.special.entr(phi.mean(0)).sum() - each)

    def _keep(self, head: Heads, scaler: Scaler) -> None:
        self.center_, self.projection_ = scaler.center.numpy(), scaler.projection.numpy()
        for layer, (weight, bias) in enumerate(zip(head.weights, head.biases, strict=True)):
            setattr(self, f"weight_{layer}_", weight.detach()[0].cpu().numpy())
            setattr(self, f"bias_{layer}_", bias.detach()[0].cpu().numpy())
        self.groups_ = head.groups[0].cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        return int(self.groups_.shape[1])

    def _head(self) -> Heads:
        layers = range(2 if hasattr(self, "weight_1_") else 1)
        return Heads(
            [torch.from_numpy(getattr(self, f"weight_{layer}_"))[None] for layer in layers],
            [torch.from_numpy(getattr(self, f"bias_{layer}_"))[None] for layer in layers],
            torch.from_numpy(self.groups_)[None],
        )

    def _tell_sizes(self) -> str:
        sizes = np.bincount(self.labels_, minlength=self.n_clusters)
        if sizes.min() == 0:
            missing = int((sizes == 0).sum())
            message = (
                f"Only {self.n_clusters - missing} of {self.n_clusters} clusters have members: the rows may hold "
                "fewer groups, or too many equal rows. Ask for fewer clusters."
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
            return message
        return f"Sizes: {sizes.min()} to {sizes.max()} rows a cluster."

    def _check(self, n: int) -> None:
        check_clusters(self.n_clusters, n)
        choices = {
            "metric": ("auto", "cosine", "euclidean"),
            "scaling": ("auto", "global", "standard"),
            "normalization": ("cluster", "point"),
            "mapper": ("linear", "mlp"),
            "start": ("kmeans", "random"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}.")
        for name in ("n_neighbors", "walks", "n_heads", "merge", "steps"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be at least 1 and whole, got {value!r}.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}.")
        if not 0 <= self.debias_p < 1 or not 0 < self.debias_q < 1:
            raise ValueError(
                f"debias_p must lie in [0, 1) and debias_q in (0, 1), got {self.debias_p} and {self.debias_q}."
            )
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema is the decay of an average and must lie in [0, 1), got {self.ema}.")
