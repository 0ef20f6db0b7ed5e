"""The data that benchmarks of maps and neighbors run on: digits, any table torchicon reads, or a made-up surface."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Source(NamedTuple):
    """Float32 features (n, d), labels (n,) or None, and what to call them."""

    x: np.ndarray
    labels: np.ndarray | None
    name: str


def add_options(parser: argparse.ArgumentParser, default: str) -> None:
    """The options that `load` reads."""
    parser.add_argument(
        "--data",
        nargs="+",
        default=[default],
        metavar="FILE[:LABELS]",
        help="tables or encoded pictures that torchicon reads, put one below the other; 'digits' of scikit-learn; or "
        f"'surface', seeded points near a curved 8-dimensional surface in 50 dimensions (default {default})",
    )
    parser.add_argument("--components", type=int, help="reduce the features to so many principal components")
    parser.add_argument("--rows", type=int, help="a seeded draw of so many rows (of a surface: its size)")


def load(arguments: argparse.Namespace) -> Source:
    """The data that the options name."""
    x, labels = _read(arguments.data, arguments.rows)
    if arguments.rows is not None and arguments.rows < len(x):
        kept = np.sort(np.random.default_rng(0).choice(len(x), arguments.rows, replace=False))
        x, labels = x[kept], None if labels is None else labels[kept]
    names = " + ".join(Path(part.partition(":")[0]).stem for part in arguments.data)
    if arguments.components is not None:
        from sklearn.decomposition import PCA

        x = PCA(arguments.components, svd_solver="covariance_eigh").fit_transform(x)
    return Source(np.ascontiguousarray(x, dtype=np.float32), labels, f"{names}, {len(x):,} x {x.shape[1]}")


def _read(data: list[str], rows: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    if data == ["digits"]:
        from sklearn.datasets import load_digits

        return load_digits(return_X_y=True)
    if data == ["surface"]:
        return surface(30_000 if rows is None else rows), None
    from torchicon.data import read_table

    tables = []
    for part in data:
        path, _, labels = part.partition(":")
        tables.append(read_table(path, labels=labels or None))
    labels = [table.labels for table in tables]
    known = all(label is not None for label in labels)
    return np.concatenate([table.features for table in tables]), np.concatenate(labels) if known else None


def surface(n: int, d: int = 50) -> np.ndarray:
    """(n, d) points near a smooth 8-dimensional surface: as hard to search as natural data, and made anywhere."""
    generator = np.random.default_rng(0)
    latent = generator.standard_normal((n, 8))
    bent = np.tanh(latent @ generator.standard_normal((8, 2 * d))) @ generator.standard_normal((2 * d, d))
    return (bent + 0.1 * bent.std() * generator.standard_normal((n, d))).astype(np.float32)
