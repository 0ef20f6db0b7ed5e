"""K-Means from one start, for the same iterations: ours against scikit-learn and faiss.

    python benchmarks/kmeans.py                                       # 60,000 x 50 of overlapping clusters, c = 100
    python benchmarks/kmeans.py --data features.npy --clusters 1000 --iterations 50
    python benchmarks/kmeans.py --data TRAIN:label TEST:label --components 50

The start is one of k-means++, found once. Inertia is that of the centers found, by one code, in float64. "products" is
the n x d x c matrix products that an iteration without shortcuts cannot do without.
"""

from __future__ import annotations

import warnings

import numpy as np
import sources
from harness import Benchmark

ROWS, DIMENSIONS, COMPONENTS = 60_000, 50, 150


def ours(x, start, iterations):
    from torchicon import KMeans

    model = KMeans(len(start), init=start, max_iter=iterations, tol=0).fit(x)
    return model.cluster_centers_, model.n_iter_


def scikit_learn(algorithm):
    def fit(x, start, iterations):
        from sklearn.cluster import KMeans

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged is meant
            model = KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=0, algorithm=algorithm).fit(x)
        return model.cluster_centers_, model.n_iter_

    return fit


def faiss(x, start, iterations):
    import faiss

    model = faiss.Kmeans(x.shape[1], len(start), niter=iterations, max_points_per_centroid=len(x))
    model.train(x, init_centroids=start)
    return model.centroids, len(model.iteration_stats)


def fitting(fit):
    """How to prepare a library."""

    def prepare(task):
        fit(task.x[: len(task.start)].copy(), task.start[:8].copy(), 2)

        def work():
            centers, done = fit(task.x, task.start, task.iterations)
            return {"centers": centers, "iterations": done}

        return work

    return prepare


def products(task):
    import torch

    points, centers = torch.from_numpy(task.x), torch.from_numpy(task.start)
    rows = max(256, 2**20 * torch.get_num_threads() // (4 * len(centers)))  # scores that stay in the cache
    scores = torch.empty(len(centers), rows)
    torch.mm(centers, points[:rows].T)

    def work():
        for _ in range(task.iterations):
            for tile in points.split(rows):
                torch.mm(centers, tile.T, out=scores[:, : len(tile)])
        return {}

    return work


METHODS = {
    "ours": fitting(ours),
    "scikit-learn-lloyd": fitting(scikit_learn("lloyd")),
    "scikit-learn-elkan": fitting(scikit_learn("elkan")),
    "faiss": fitting(faiss),
    "products": products,
}


def inertia(x, centers):
    """Sum of squared distances to the nearest center, float64."""
    x, centers = x.astype(np.float64), centers.astype(np.float64)
    total, norms = 0.0, np.square(centers).sum(1)
    for start in range(0, len(x), 4096):
        rows = x[start : start + 4096]
        own = centers[(norms - 2 * rows @ centers.T).argmin(1)]
        total += float(np.square(rows - own).sum())
    return total


def mixture():
    """A seeded mixture of overlapping Gaussians."""
    rng = np.random.default_rng(0)
    middles = 1.5 * rng.standard_normal((COMPONENTS, DIMENSIONS))
    x = middles[rng.integers(COMPONENTS, size=ROWS)] + rng.standard_normal((ROWS, DIMENSIONS))
    return sources.Source(x.astype(np.float32), None, f"a mixture, {ROWS:,} x {DIMENSIONS}")


def main():
    benchmark = Benchmark(__doc__, METHODS)
    sources.add_options(benchmark.parser, "mixture")
    benchmark.parser.add_argument("--clusters", type=int, default=100)
    benchmark.parser.add_argument("--iterations", type=int, nargs="+", default=[20, 100])
    arguments = benchmark.parse()
    from sklearn.cluster import kmeans_plusplus

    source = mixture() if arguments.data == ["mixture"] else sources.load(arguments)
    x = source.x
    start = kmeans_plusplus(x, arguments.clusters, random_state=0)[0]

    def judge(method, figures):
        if "centers" not in figures:
            return {}
        return {"inertia": inertia(x, figures["centers"]), "iterations": figures["iterations"]}

    for iterations in arguments.iterations:
        benchmark.compare(
            f"K-Means of {source.name}, c = {arguments.clusters}, {iterations} iterations",
            {"x": x, "start": start, "iterations": iterations},
            judge=judge,
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
