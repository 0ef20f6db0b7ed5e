"""K-Means as an estimator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from torchicon.core.numerics import row_blocks
from torchicon.estimators._base import Estimator, check_clusters, seed_of
from torchicon.estimators._lloyd import assign, kmeans
from torchicon.estimators._minibatch import PATIENCE, best_start, minibatch, step
from torchicon.estimators._points import Points, floor_power_of_two, frame_of


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Estimator):  # type: ignore[misc]
    r"""K-Means: I-Con's reverse KL between hard cluster rows and a Gaussian, in the limit where entropies do not count.

    $\sigma^2 (\sum_i \mathrm{KL}(q_i \| p_i) - \sum_i \log Z_i) \to$ inertia (theory 4e); minimized by Lloyd's
    iterations, exact and accelerated by Hamerly's bounds, or in mini-batches (Sculley 2010). Clusters are never
    empty.

    Arrays that are memory-mapped (`numpy.load(..., mmap_mode="r")`), and those in float16, are read in blocks as they
    are visited: neither fitting nor predicting copies the whole.

    Args:
        n_clusters: number of clusters c.
        init: "k-means++", greedy and among 32,768 rows (32 for each cluster if that is more) that are drawn where there
            are more; or the centers (c, d) of the one start, whose order the clusters keep.
        n_init: k-means++ starts. The best by inertia is kept, of mini-batches before they begin.
        batch_size: rows of a mini-batch; None visits all rows in each iteration.
        max_iter: most iterations of one start, or passes over the rows in mini-batches.
        tol: squared movement of the centers, relative to the mean variance of a column, at which a start ends; of
            mini-batches the relative improvement of the inertia in one pass.
        random_state: seed.

    Attributes:
        cluster_centers_: (c, d).
        labels_: (n,) cluster of each training row.
        inertia_: sum of (weighted) squared distances to the own center.
        n_iter_: iterations of the start that was kept, passes over the rows, or batches that `partial_fit` was given.
        counts_: (c,) weight of the rows that each center has averaged.

    >>> KMeans(2, random_state=0).fit([[0.0], [0.1], [5.0], [5.1]]).cluster_centers_.round(2).tolist()
    [[0.05], [5.05]]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike = "k-means++",
        n_init: int = 10,
        batch_size: int | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centers of X (n, d), whose rows may have weights (n,); y is ignored.

        Raises:
            ValueError: fewer rows of positive weight than clusters, NaN or infinity (named by row and column), a count
                below 1, a negative weight, or an ``init`` of another shape.
        """
        x, weight, init = self._read(X, sample_weight, reset=True)
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        arguments: dict[str, Any] = {
            "n_init": self.n_init,
            "max_iter": self.max_iter,
            "tolerance": self.tol,
            "init": init,
            "weight": weight,
        }
        if self.batch_size is None:
            found = kmeans(x, self.n_clusters, generator, **arguments)
            counts = torch.bincount(found.labels, weight, minlength=self.n_clusters).double()
        else:
            found, counts = minibatch(x, self.n_clusters, generator, batch_size=self.batch_size, **arguments)
        order = torch.arange(self.n_clusters)
        if init is None:
            # Clusters in order of their first member, so that equal partitions have equal labels.
            order = found.labels.new_tensor(list(dict.fromkeys(found.labels.tolist())))
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        self.cluster_centers_ = found.centers[order].numpy()
        self.labels_ = rank[found.labels].numpy()
        self.inertia_ = found.inertia
        self.n_iter_ = found.iterations
        self.counts_ = counts[order].numpy()
        return self

    def partial_fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """One mini-batch step on the rows X (n, d), from ``init`` or, if fitted, from the centers there are.

        ``labels_`` and ``inertia_`` are those of X after the step. y is ignored.

        Raises:
            ValueError: as `fit` does; later batches may have fewer rows than clusters.
        """
        first = not hasattr(self, "cluster_centers_")
        x, weight, init = self._read(X, sample_weight, reset=first)
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        frame = frame_of(x, weight)
        rows = frame.enter(x)[:]
        if first:
            start = (
                best_start(rows, self.n_clusters, generator, self.n_init, weight) if init is None else frame.shift(init)
            )
            counts = torch.zeros(self.n_clusters, dtype=torch.float64)
        else:
            start = frame.shift(torch.from_numpy(self.cluster_centers_).to(rows.dtype))
            counts = torch.from_numpy(self.counts_.copy())
        step(rows, start, counts, generator, weight, patience=PATIENCE * self.n_clusters)
        labels, sq_dist = assign(rows, start)
        self.cluster_centers_, self.counts_ = frame.leave(start).numpy(), counts.numpy()
        self.labels_ = labels.numpy()
        self.inertia_ = float((sq_dist.double() * (1.0 if weight is None else weight)).sum()) * frame.unit**2
        self.n_iter_ = 1 if first else self.n_iter_ + 1
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Nearest center of each row, (n,)."""
        return np.concatenate([assign(block, centers)[0].numpy() for block, centers, _ in self._blocks(X)])

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Euclidean distance of each row to each center, (n, c)."""
        exact = "donot_use_mm_for_euclid_dist"  # from differences, which do not cancel
        return np.concatenate(
            [
                torch.cdist(block, centers, compute_mode=exact).mul_(unit).numpy()
                for block, centers, unit in self._blocks(X)
            ]
        )

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Minus the inertia of X around the centers: larger is better."""
        sq_dist = np.concatenate(
            [assign(b, centers)[1].double().numpy() * unit**2 for b, centers, unit in self._blocks(X)]
        )
        weight = _weights(sample_weight, len(sq_dist))
        return -float(sq_dist.sum() if weight is None else weight.numpy() @ sq_dist)

    def _blocks(self, X: ArrayLike) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Rows (t, d) and the centers (c, d), seen from the centers' mean in a unit, and that unit."""
        check_is_fitted(self)
        x = self._points(X, reset=False)
        center = torch.from_numpy(self.cluster_centers_.mean(0, dtype=np.float64)).to(x.dtype)
        centers = torch.from_numpy(self.cluster_centers_).to(x.dtype) - center
        for rows in row_blocks(len(x), 3 * x.shape[1] * x.dtype.itemsize):
            block = x[rows] - center
            unit = floor_power_of_two(max(float(block.abs().max()), float(centers.abs().max())))
            yield block.div_(unit), centers / unit, unit

    def _read(
        self, X: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
    ) -> tuple[Points, Tensor | None, Tensor | None]:
        """Points, weights and initial centers for fitting, all checked."""
        for name in ("n_init", "max_iter") if self.batch_size is None else ("n_init", "max_iter", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        x = self._points(X, reset=reset)
        weight = _weights(sample_weight, len(x))
        if reset:
            check_clusters(self.n_clusters, len(x))
            if weight is not None and (weight > 0).sum() < self.n_clusters:
                raise ValueError(
                    f"n_clusters={self.n_clusters} needs as many rows with a sample weight above zero, got "
                    f"{int((weight > 0).sum())}: ask for fewer clusters."
                )
        if isinstance(self.init, str):
            if self.init != "k-means++":
                raise ValueError(f"init must be 'k-means++' or an array of centers, got {self.init!r}.")
            return x, weight, None
        init = np.array(self.init, dtype=np.float64)
        if init.shape != (self.n_clusters, x.shape[1]) or not np.isfinite(init).all():
            raise ValueError(
                f"init must hold n_clusters={self.n_clusters} finite centers of {x.shape[1]} columns, got an array of "
                f"shape {init.shape}{'' if np.isfinite(init).all() else ' with NaN or infinity'}."
            )
        return x, weight, torch.from_numpy(init).to(x.dtype)


def _weights(sample_weight: ArrayLike | None, n: int) -> Tensor | None:
    if sample_weight is None:
        return None
    weight = np.array(sample_weight, dtype=np.float64)
    if weight.shape != (n,) or not (np.isfinite(weight).all() and (weight >= 0).all()):
        seen = f"shape {weight.shape}" if weight.shape != (n,) else f"values from {weight.min()} to {weight.max()}"
        raise ValueError(f"sample_weight must hold {n} finite numbers of at least 0, one a row, got {seen}.")
    return torch.from_numpy(weight)
