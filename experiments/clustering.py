"""Unsupervised classification beside the usual methods: Hungarian accuracy over seeds, labels used only to score.

    python experiments/clustering.py digits wine breast_cancer
    python experiments/clustering.py digits pendigits=PATH/pendigits.csv:class bbc=PATH/bbc-minilm.npz:y --seeds 5

A data set is one of scikit-learn's, or NAME=FILE:LABELS. Ours runs with its defaults. K-Means (10 restarts), Gaussian
mixtures, Ward and spectral clustering see the raw features; ``--scaled`` also gives them standardized and unit-length
features and reports the best of the three, *chosen with the labels*, which no user could do.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from sklearn import datasets
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from torchicon import Clustering
from torchicon.data import read_table
from torchicon.evaluation import hungarian_accuracy

_WARD_ROWS = 12_000  # Ward and spectral clustering need all pairs


def load(source):
    """Name, features and labels of a data set."""
    if "=" not in source:
        x, y = getattr(datasets, f"load_{source}")(return_X_y=True)
        return source, x, y
    name, place = source.split("=", 1)
    path, labels = place.rsplit(":", 1)
    table = read_table(path, labels=labels)
    return name, table.features, np.unique(table.labels, return_inverse=True)[1]


def imbalanced(x, y, ratio):
    """A seeded part in which class sizes fall geometrically, the largest ``ratio`` times the smallest."""
    generator = np.random.default_rng(0)
    classes = generator.permutation(np.unique(y))
    smallest_class = min(int((y == label).sum()) for label in classes)
    kept = []
    for place, label in enumerate(classes):
        size = round(smallest_class * ratio ** (-place / (len(classes) - 1)))
        kept.append(generator.permutation(np.flatnonzero(y == label))[:size])
    rows = np.sort(np.concatenate(kept))
    return x[rows], y[rows]


def scalings(x, scaled):
    spread = x.std(0)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    kinds = {"raw": x}
    if scaled:
        kinds["standardized"] = (x - x.mean(0)) / np.where(spread > 0, spread, 1)
        kinds["unit"] = x / np.where(length > 0, length, 1)
    return kinds


def others(x, c, seed):
    yield "K-Means", KMeans(c, n_init=10, random_state=seed)
    yield "GMM", GaussianMixture(c, reg_covar=1e-3 * x.var(0).mean(), random_state=seed)
    if len(x) <= _WARD_ROWS:
        yield "Ward", AgglomerativeClustering(c)
        yield "spectral", SpectralClustering(c, affinity="nearest_neighbors", random_state=seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--scaled", action="store_true", help="give the others the scaling that suits them best")
    parser.add_argument("--imbalance", type=float, default=1.0, metavar="RATIO", help="largest class to smallest")
    parser.add_argument("--ours-only", action="store_true")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message="Graph is not fully connected")
    print(f"accuracy in %, seeds {seeds.start} to {seeds.stop - 1}: mean (worst); seconds are the median fit")
    for source in arguments.sources:
        name, x, y = load(source)
        if arguments.imbalance > 1:
            x, y = imbalanced(x, y, arguments.imbalance)
        c = len(np.unique(y))
        seen, seconds = [], []
        for seed in seeds:
            start = time.perf_counter()
            model = Clustering(c, random_state=seed, verbose=False).fit(x)
            seconds.append(time.perf_counter() - start)
            seen.append(100 * hungarian_accuracy(y, model.labels_))
        line = f"{name:<14} torchicon {np.mean(seen):.1f} ({min(seen):.1f}) {np.median(seconds):.1f} s"
        if not arguments.ours_only:
            best = {}
            for kind, features in scalings(x, arguments.scaled).items():
                for method, model in others(features, c, 0):
                    accuracy = 100 * hungarian_accuracy(y, model.fit_predict(features))
                    best[method] = max(best.get(method, (0.0, "")), (accuracy, kind))
            line += "".join(f" | {method} {accuracy:.1f} {kind}" for method, (accuracy, kind) in best.items())
        print(line, flush=True)


if __name__ == "__main__":
    main()
