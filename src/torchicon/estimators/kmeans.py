"""K-Means as an estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from torchicon.estimators._base import Estimator, check_clusters, seed_of
from torchicon.estimators._lloyd import assign, kmeans, power_of_two


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Estimator):  # type: ignore[misc]
    r"""K-Means: I-Con's reverse KL between hard cluster rows and a Gaussian, in the limit where entropies do not count.

    $\sigma^2 (\sum_i \mathrm{KL}(q_i \| p_i) - \sum_i \log Z_i) \to$ inertia (theory 4e); minimized by Lloyd's
    iterations from greedy k-means++ starts. Clusters are never empty.

    Args:
        n_clusters: number of clusters c.
        n_init: starts, of which the best by inertia is kept.
        max_iter: most iterations of one start.
        tol: squared movement of the centers, relative to the mean variance of a column, at which a start ends.
        random_state: seed.

    Attributes:
        cluster_centers_: (c, d).
        labels_: (n,) cluster of each training row.
        inertia_: sum of squared distances to the own center.
        n_iter_: iterations of the start that was kept.

    >>> KMeans(2, random_state=0).fit([[0.0], [0.1], [5.0], [5.1]]).cluster_centers_.round(2).tolist()
    [[0.05], [5.05]]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_init: int = 10,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Find the centers of X (n, d); y is ignored.

        Raises:
            ValueError: fewer rows than clusters, NaN or infinity (named by row and column), or a count below 1.
        """
        x = self._features(X, reset=True)
        check_clusters(self.n_clusters, len(x))
        if self.n_init < 1 or self.max_iter < 1:
            raise ValueError(f"n_init and max_iter must be at least 1, got {self.n_init} and {self.max_iter}.")
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        found = kmeans(
            torch.from_numpy(x),
            self.n_clusters,
            generator,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tolerance=self.tol,
        )
        # Clusters in order of their first member, so that equal partitions have equal labels.
        order = found.labels.new_tensor(list(dict.fromkeys(found.labels.tolist())))
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        self.cluster_centers_ = found.centers[order].numpy()
        self.labels_ = rank[found.labels].numpy()
        self.inertia_ = found.inertia
        self.n_iter_ = found.iterations
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Nearest center of each row, (n,)."""
        return self._assign(X)[0]

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Euclidean distance of each row to each center, (n, c)."""
        check_is_fitted(self)
        x = self._features(X, reset=False)
        return np.stack(
            [np.linalg.norm(x - center, axis=1) for center in self.cluster_centers_.astype(x.dtype)], axis=1
        )

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Minus the inertia of X around the centers: larger is better."""
        return -float(self._assign(X)[1].sum())

    def _assign(self, X: ArrayLike) -> tuple[NDArray[np.int64], NDArray[Any]]:
        check_is_fitted(self)
        x = torch.from_numpy(self._features(X, reset=False))
        center = x.mean(0)
        unit = power_of_two(x - center)
        centers = torch.from_numpy(self.cluster_centers_).to(x.dtype) - center
        labels, sq_dist = assign((x - center) / unit, centers / unit)
        return labels.numpy(), sq_dist.double().numpy() * unit * unit
