"""What every estimator shares: input of any kind, a device-free seed, saving and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sps
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from torch import Tensor

from torchicon.estimators import _persistence
from torchicon.estimators._points import MappedPoints, Points, check_finite, is_mapped

_DENSE_BYTES = 2**30


class Estimator(BaseEstimator):  # type: ignore[misc]
    """scikit-learn manners: the constructor stores, `fit` validates, fitted attributes end in an underscore.

    Input may be a numpy array, a torch tensor, a pandas or polars frame, or a scipy sparse matrix (densified up to
    1 GiB), of integers or any floating type.
    """

    def _features(self, X: Any, *, reset: bool, minimum: int = 1) -> NDArray[Any]:
        """X as a finite (n, d) float32 or float64 array; remembers names and number of features when ``reset``."""
        if isinstance(X, Tensor):
            X = (
                X.detach().cpu().float().numpy()
                if X.is_floating_point() and X.itemsize < 4
                else X.detach().cpu().numpy()
            )
        x = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=True,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=minimum,
        )
        if sps.issparse(x):
            needed = x.shape[0] * x.shape[1] * x.dtype.itemsize
            if needed > _DENSE_BYTES:
                raise ValueError(
                    f"The sparse matrix {x.shape} would take {needed / 2**30:.1f} GiB as a dense one (limit 1 GiB). "
                    "Reduce it first, for instance with sklearn.decomposition.TruncatedSVD(100)."
                )
            x = x.toarray()
        bad = ~np.isfinite(x)
        if bad.any():
            row, column = (int(v) for v in np.argwhere(bad)[0])
            seen = "NaN" if np.isnan(x[row, column]) else "infinity"
            raise ValueError(
                f"Input X contains NaN or infinity: {seen} in row {row}, column {column} ({int(bad.sum())} such values "
                "in all). Drop or impute them, for instance with sklearn.impute.SimpleImputer."
            )
        return np.require(x, requirements=["C", "W"])  # torch takes no read-only memory

    def _points(self, X: Any, *, reset: bool, minimum: int = 1) -> Points:
        """X as finite points (n, d): a tensor, or what reads an array on disk or in half precision in blocks."""
        if not is_mapped(X):
            return torch.from_numpy(self._features(X, reset=reset, minimum=minimum))
        x = validate_data(
            self,
            X.detach().cpu().numpy() if isinstance(X, Tensor) else X,
            reset=reset,
            dtype=None,
            ensure_all_finite=False,
            ensure_min_samples=minimum,
        )
        check_finite(x)
        return MappedPoints(x)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into ``folder`` (made if missing); nothing is pickled.

        Raises:
            sklearn.exceptions.NotFittedError: there is nothing to save yet.
            ValueError: a constructor argument, such as a module of your own, has no JSON form.
        """
        _persistence.save(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **objects: Any) -> Self:
        """Read an estimator that `save_pretrained` wrote.

        Args:
            folder: where it was written.
            objects: constructor arguments that have no JSON form, as they were when it was fitted.

        Raises:
            ValueError: the folder holds no such model, or one of another class.
        """
        estimator: Self = _persistence.load(cls, Path(folder), objects)
        return estimator

    def __sklearn_tags__(self) -> Any:
        """Sparse input is taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Float32Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):  # type: ignore[misc]
    """A transformer that works in float32 and keeps its training rows' image as ``embedding_``, or says its width."""

    def __sklearn_tags__(self) -> Any:
        """The output is float32 whatever comes in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.embedding_.shape[1])


def seed_of(random_state: Any) -> int:
    """A seed for torch's own generators from whatever scikit-learn takes as random_state; global ones stay alone.

    ``None`` draws fresh entropy, as scikit-learn documents, but not from numpy's global generator.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def check_clusters(n_clusters: int, n: int) -> None:
    """Refuse a number of clusters that n samples cannot fill."""
    if not isinstance(n_clusters, int | np.integer) or n_clusters < 1:
        raise ValueError(f"n_clusters must be a whole number of at least 1, got {n_clusters!r}.")
    if n < n_clusters:
        raise ValueError(f"n_samples={n} should be >= n_clusters={n_clusters}: ask for fewer clusters.")
