"""Maps: a place in the plane for every row, where neighbors stand together."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchicon.cli.run import Run
from torchicon.core import wide
from torchicon.data import DataError, Table
from torchicon.methods import Method

_USUAL_PERPLEXITY = 30.0
_BLOCK = 2**25  # numbers
_FITTED_ROWS = 10_000  # half a minute of t-SNE on one core


def map_of(run: Run, table: Table, *, seed: int) -> NDArray[np.floating[Any]]:
    """A t-SNE map of the table, (n, 2), to look at clusters on: of many rows a sample is fitted, the others placed.

    Raises:
        DataError: one row.
    """
    features = table.features
    n = len(features)
    with run.step("mapping", own_bar=True):
        if n <= _FITTED_ROWS:
            return np.asarray(fit_map(run, table.source, features, perplexity=None, seed=seed).embedding_)
        fitted = np.zeros(n, dtype=bool)
        fitted[np.random.default_rng(seed).choice(n, _FITTED_ROWS, replace=False)] = True
        model = fit_map(run, table.source, features[fitted], perplexity=None, seed=seed)
        coordinates = np.empty((n, 2), dtype=model.embedding_.dtype)
        coordinates[fitted] = model.embedding_
        rest = np.flatnonzero(~fitted)
        for rows in blocks(features):
            placed = rest[(rest >= rows.start) & (rest < rows.stop)]
            if len(placed):
                coordinates[placed] = model.transform(features[placed])
    run.note(
        f"The map is of {_FITTED_ROWS:,} rows drawn by the seed; the {n - _FITTED_ROWS:,} others were placed on it."
    )
    return coordinates


def fit_map(
    run: Run,
    source: Path,
    features: NDArray[np.floating[Any]],
    *,
    perplexity: float | None,
    seed: int,
    engine: str = "TSNE",
) -> Any:
    """A fitted t-SNE or SNE estimator.

    Args:
        run: tells whether progress is shown, and takes a note when the perplexity is lowered.
        source: what an error names.
        features: (n, d).
        perplexity: effective number of neighbors; when omitted 30, or what few rows allow.
        seed: of everything random.
        engine: "TSNE" or "SNE".

    Raises:
        DataError: one row, or a perplexity that the rows cannot have.
    """
    from torchicon import estimators

    n = _rows(features, source)
    if perplexity is None:
        perplexity = min(_USUAL_PERPLEXITY, max(1.0, (n - 1) / 3))  # three times as many neighbors take part
        if perplexity < _USUAL_PERPLEXITY:
            run.note(f"{n} rows are few for a map: the perplexity is {perplexity:.3g} instead of 30.")
    elif not perplexity < n:  # NaN too
        raise DataError(
            f"has {n} rows, too few for a perplexity of {perplexity:g}",
            source,
            f"Use --perplexity with at most {n - 1}, or leave it out.",
        )
    return getattr(estimators, engine)(2, perplexity=perplexity, random_state=seed, verbose=run.lively).fit(features)


def fit_method(run: Run, source: Path, features: NDArray[np.floating[Any]], *, method: Method, seed: int) -> Any:
    """A small network, or an orthonormal map where only that has a minimum, trained by any method of the table.

    Raises:
        DataError: one row.
        ValueError: the method needs more than points, such as labels.
    """
    from torchicon.estimators import ICon

    _rows(features, source)
    if method.cell[1] == "Clusters":
        raise ValueError(f"{method.name} finds clusters, and no map: use torchicon cluster, or ICon.of in Python.")
    mapper = {} if method.divergence is wide else {"mapper": "mlp"}
    model = ICon.of(method, **mapper, random_state=seed, verbose=run.lively)
    if model.supervised:
        raise ValueError(f"{method.name} learns from labels, and a map is made without them.")
    return model.fit(features)


def _rows(features: NDArray[np.floating[Any]], source: Path) -> int:
    if len(features) < 2:
        raise DataError("has one row, and a map needs at least 2", source, "Give more rows.")
    return len(features)


def blocks(features: NDArray[np.floating[Any]]) -> list[slice]:
    """Rows cut so that a block in float64 takes 256 MiB: features of many rows may be mapped from their file."""
    n, d = features.shape
    size = max(1, _BLOCK // d)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def principal_components(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The first two principal components, (n, 2); zeros stand in for a second one that one feature does not have."""
    from sklearn.decomposition import PCA

    coordinates = np.zeros((len(features), 2))
    count = min(2, *features.shape)
    n, d = features.shape
    sample = np.sort(np.random.default_rng(0).permutation(n)[: max(_BLOCK // d, count)])
    pca = PCA(count, random_state=0).fit(features[sample].astype(np.float64))
    for rows in blocks(features):
        coordinates[rows, :count] = pca.transform(features[rows].astype(np.float64))
    return coordinates
