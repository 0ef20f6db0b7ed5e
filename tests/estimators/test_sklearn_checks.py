"""Every estimator passes scikit-learn's own checks; an excused one says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sps
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from torchicon import KNN, SNE, TSNE, Clustering, ICon, KMeans, NormalizedCuts

ESTIMATORS = [
    Clustering(4, steps=20, n_heads=2, verbose=False),
    KMeans(3),
    NormalizedCuts(5),
    ICon(p=KNN(1), epochs=3, verbose=False),
    TSNE(perplexity=2, max_iter=20, verbose=False),
    SNE(perplexity=2, max_iter=20, verbose=False),
]

_SPARSE = (
    "scikit-learn asks any estimator with predict_proba that takes sparse input for its classifier tags, "
    "which a clusterer does not have"
)
_REPEATED = (
    "the starts draw rows, of which repeating makes others; from the same start, weights are repeated rows "
    "(test_kmeans.py)"
)
EXCUSED = {
    "Clustering": {"check_estimator_sparse_array": _SPARSE, "check_estimator_sparse_matrix": _SPARSE},
    "KMeans": {
        "check_sample_weight_equivalence_on_dense_data": _REPEATED,
        "check_sample_weight_equivalence_on_sparse_data": _REPEATED,
    },
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # tiny data, few steps
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda e: EXCUSED.get(type(e).__name__, {}))
def test_scikit_learn(estimator, check):
    check(estimator)


X, _ = make_blobs(60, 4, centers=4, random_state=0)
X = X.astype(np.float32).astype(np.float64)  # the same numbers in either type: a descent amplifies any difference
FRAME = pd.DataFrame(X, columns=list("abcd"))
KINDS = {
    "torch": torch.from_numpy(X),
    "float32": X.astype(np.float32),
    "polars": pl.DataFrame(X, schema=list("abcd")),
    "pandas": FRAME,
    "sparse": sps.csr_array(X),
    "list": X.tolist(),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_any_kind_of_input_gives_the_same_result(estimator, kind):
    first, second = clone(estimator).set_params(random_state=0), clone(estimator).set_params(random_state=0)
    attribute = "labels_" if hasattr(estimator, "predict") else "embedding_"
    expected, seen = (getattr(e.fit(x), attribute) for e, x in ((first, X), (second, KINDS[kind])))
    np.testing.assert_allclose(seen, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, bool])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_narrow_types_are_taken(estimator, dtype):
    clone(estimator).set_params(random_state=0).fit((X - X.min()).astype(dtype) if dtype is not bool else X.mean() < X)


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize(
    "estimator", [e for e in ESTIMATORS if hasattr(e, "transform")], ids=lambda estimator: type(estimator).__name__
)
def test_set_output(estimator, container):
    frame = clone(estimator).set_params(random_state=0).set_output(transform=container).fit_transform(FRAME)
    assert frame.columns[0] == f"{type(estimator).__name__.lower()}0"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_global_generators_are_left_alone(estimator):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global one is meant
    clone(estimator).set_params(random_state=None).fit(X)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
