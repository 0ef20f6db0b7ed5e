"""Normalized cuts as an estimator."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from torchicon.estimators._base import Estimator, check_clusters, seed_of
from torchicon.estimators._cuts import Cut, Graph, search
from torchicon.estimators._spectrum import smallest
from torchicon.neighborhoods.nearest import nearest

_ASYMMETRY = 1e-6  # of the largest weight: what rounding leaves in a symmetric product in float32


class NormalizedCuts(ClusterMixin, Estimator):  # type: ignore[misc]
    r"""Cut a graph into c clusters that keep most of their edges: I-Con's reverse cross-entropy on a graph.

    $\mathrm{NCut} = \sum_c \mathrm{cut}(c) / \mathrm{vol}(c) = \sum_i H(q_i, p_i) + c - \sum_i \log Z_i$ for hard,
    degree-weighted cluster rows q and $p_{j|i} \propto e^{w_{ij} / d_j}$ (Shi & Malik 2000; theory 4d). Rows are
    embedded by the eigenvectors of the normalized Laplacian, k-means finds three cells a cluster there, cells are
    merged where that cuts least, and single points move as long as the cut falls. Clusters are never empty.

    The graph is that of scikit-learn's ``SpectralClustering``, and as there, loops count for nothing.

    Args:
        n_clusters: number of clusters c.
        affinity: "nearest_neighbors": $w = (A + A^T) / 2$ with $A_{ij} = 1$ for the nearest neighbors j of i;
            "precomputed": X itself is the (n, n) matrix of weights, dense or sparse.
        n_neighbors: neighbors of a point in A, itself counted: 10 are nine others.
        n_init: partitions made, of which the one with the lowest cut is kept.
        random_state: seed.

    Attributes:
        labels_: (n,) cluster of each row; clusters are in the order of their first member.
        ncut_: sum over clusters of the weight that leaves one / its volume, in 0 .. c.
        eigenvalues_: (c,) smallest of the normalized Laplacian: their sum is a lower bound of any cut in c clusters.

    >>> NormalizedCuts(2, n_neighbors=2, random_state=0).fit_predict([[0.0], [0.1], [0.3], [5.0], [5.1], [5.3]])
    array([0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        affinity: Literal["nearest_neighbors", "precomputed"] = "nearest_neighbors",
        n_neighbors: int = 10,
        n_init: int = 3,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.affinity = affinity
        self.n_neighbors = n_neighbors
        self.n_init = n_init
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Cut the graph of the rows of X (n, d), or the graph X (n, n); y is ignored.

        Raises:
            ValueError: NaN or infinity; fewer rows than clusters, or than two; a graph in more pieces than clusters; a
                precomputed one that is not square, not symmetric, has a negative weight or a row without any.

        Warns:
            ConvergenceWarning: the eigenvalues could not be told apart, so that they and the clusters may be poor.
        """
        if self.affinity not in ("nearest_neighbors", "precomputed"):
            raise ValueError(f"affinity must be 'nearest_neighbors' or 'precomputed', got {self.affinity!r}.")
        for name, least in (("n_neighbors", 2), ("n_init", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} must be at least {least} and whole, got {value!r}.")
        if self.affinity == "precomputed":
            affinity = _checked(self._affinities(X, reset=True))
        else:
            self.training_rows_ = self._features(X, reset=True, minimum=2)
            affinity = _neighbor_graph(self.training_rows_, self.n_neighbors)
        check_clusters(self.n_clusters, affinity.shape[0])
        pieces, piece = connected_components(affinity, directed=False)
        if pieces > self.n_clusters:
            raise ValueError(
                f"The graph falls into {pieces} pieces without an edge between them (the smallest has "
                f"{np.bincount(piece).min()} rows), so that no cut tells how to join them into n_clusters="
                f"{self.n_clusters}: ask for more clusters or more neighbors."
            )
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        spectrum = smallest(affinity, self.n_clusters, generator)
        graph = Graph.of(affinity)
        if pieces == self.n_clusters:
            cut = Cut.of(graph, piece.astype(np.int64), pieces)
        else:
            embedding = spectrum.vectors / torch.from_numpy(graph.degree).sqrt()[:, None]
            cut = search(graph, embedding.float(), self.n_clusters, generator, n_init=self.n_init)
        first = np.unique(cut.labels, return_index=True)[1]
        self.labels_ = np.argsort(np.argsort(first))[cut.labels]
        self.ncut_ = cut.value
        self.eigenvalues_ = spectrum.values[: self.n_clusters].clamp_min(0).numpy()
        # In parts, since a saved model is made of arrays.
        self.affinity_data_ = affinity.data
        self.affinity_indices_, self.affinity_indptr_ = affinity.indices, affinity.indptr
        return self

    @property
    def affinity_matrix_(self) -> csr_array:
        """The graph that was cut: (n, n), symmetric, with a diagonal of zeros."""
        n = len(self.labels_)
        return csr_array((self.affinity_data_, self.affinity_indices_, self.affinity_indptr_), shape=(n, n))

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Cluster (m,) of most of a new row's nearest training rows; the first of these at a tie.

        With a precomputed affinity X (m, n) says how near a row is to each training row; those weights are counted.
        """
        check_is_fitted(self)
        n = len(self.labels_)
        if self.affinity == "precomputed":
            near = self._affinities(X, reset=False)
        else:
            x = self._features(X, reset=False)
            near = _indicator(nearest(self.training_rows_, min(self.n_neighbors, n), queries=x).index, 1.0, n)
        member = csr_array((np.ones(n), (np.arange(n), self.labels_)))
        return np.asarray((near @ member).toarray().argmax(1), dtype=np.int64)

    def _affinities(self, X: ArrayLike, *, reset: bool) -> csr_array:
        """X (m, n) as sparse, finite, nonnegative float64; n_features_in_ is remembered when ``reset``."""
        if issparse(X):
            X = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=np.float64, ensure_all_finite=False)
        else:
            X = self._features(X, reset=reset)
        matrix = csr_array(X, dtype=np.float64, copy=True)
        matrix.sum_duplicates()
        _refuse(matrix, ~np.isfinite(matrix.data), "Input X contains NaN or infinity: weights must be finite, got")
        _refuse(matrix, matrix.data < 0, "Weights must be nonnegative, as np.exp(similarity) is, got")
        return matrix

    def __sklearn_tags__(self) -> Any:
        """A precomputed affinity is about pairs of rows."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.affinity == "precomputed"
        return tags


def _neighbor_graph(x: NDArray[Any], n_neighbors: int) -> csr_array:
    """(A + A^T) / 2 of the nearest neighbors, the point itself counted among them but left out."""
    half = _indicator(nearest(x, min(n_neighbors, len(x)) - 1).index, 0.5, len(x))
    return half + half.T


def _indicator(index: Tensor, value: float, n: int) -> csr_array:
    """``value`` at the listed columns (m, k) of each row of (m, n); 32-bit indices, where they suffice, are faster."""
    kind = np.int32 if 2 * index.numel() < 2**31 else np.int64
    indptr = np.arange(0, index.numel() + 1, index.shape[1], dtype=kind)
    columns = index.reshape(-1).numpy().astype(kind)
    return csr_array((np.full(index.numel(), value), columns, indptr), shape=(len(index), n))


def _checked(matrix: csr_array) -> csr_array:
    """A precomputed graph without its loops and without what rounding left of asymmetry."""
    n, m = matrix.shape
    if n != m:
        raise ValueError(f"A precomputed affinity must be square, (n, n), got {matrix.shape}.")
    gap = abs(matrix - matrix.T).tocsr()
    allowed = _ASYMMETRY * float(matrix.data.max(initial=0.0))
    _refuse(gap, gap.data > allowed, "A precomputed affinity A must be symmetric, as (A + A.T) / 2 is: A - A.T has")
    graph = ((matrix + matrix.T) / 2).tocoo()
    kept = (graph.row != graph.col) & (graph.data > 0)
    graph = csr_array((graph.data[kept], (graph.row[kept], graph.col[kept])), shape=(n, n))
    lonely = np.flatnonzero(np.diff(graph.indptr) == 0)
    if len(lonely):
        raise ValueError(
            f"Row {lonely[0]} of the precomputed affinity has no weight to another row ({len(lonely)} such rows in "
            "all): leave them out, no cut concerns them."
        )
    return graph


def _refuse(matrix: csr_array, bad: NDArray[np.bool_], message: str) -> None:
    if bad.any():
        at = int(bad.argmax())
        row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
        raise ValueError(f"{message} {matrix.data[at]:.3g} in row {row}, column {matrix.indices[at]}.")
