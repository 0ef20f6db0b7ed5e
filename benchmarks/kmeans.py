"""K-Means from one start, for the same iterations: ours against scikit-learn and faiss, in fresh processes in turn.

    python benchmarks/kmeans.py                                       # 60,000 x 50 of overlapping clusters, c = 100
    python benchmarks/kmeans.py --data features.npy --clusters 1000 --iterations 50

Prints medians with their range, the memory above the idle process with its data, the inertia of the centers found (by
one code, in float64), the ratios, and the time of the n x d x c matrix products that an iteration without shortcuts
cannot do without. The start is one of k-means++, found once.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

LABELS = {
    "ours": "ours",
    "lloyd": "scikit-learn, Lloyd",
    "elkan": "scikit-learn, Elkan",
    "faiss": "faiss",
    "products": "products",
}
METHODS = tuple(LABELS)
ROWS, DIMENSIONS, COMPONENTS = 60_000, 50, 150


def measure(method: str, folder: Path, iterations: int) -> dict[str, float]:
    """Time, memory and inertia of one run in this process, after a small warm-up."""
    import numpy as np

    run = {"ours": _ours, "faiss": _faiss, "products": _products}.get(method, _scikit_learn)
    x, start = np.load(folder / "x.npy"), np.load(folder / "start.npy")
    run(x[: len(start)].copy(), start[:8].copy(), 2, method)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    centers, done = run(x, start, iterations, method)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "mib": (peak - idle) / 1024,
        "iterations": done,
        "inertia": 0.0 if centers is None else _inertia(x, centers),
    }


def _ours(x, start, iterations, _):
    from torchicon import KMeans

    model = KMeans(len(start), init=start, max_iter=iterations, tol=0).fit(x)
    return model.cluster_centers_, model.n_iter_


def _scikit_learn(x, start, iterations, algorithm):
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is meant
        model = KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=0, algorithm=algorithm).fit(x)
    return model.cluster_centers_, model.n_iter_


def _faiss(x, start, iterations, _):
    import faiss

    model = faiss.Kmeans(x.shape[1], len(start), niter=iterations, max_points_per_centroid=len(x))
    model.train(x, init_centroids=start)
    return model.centroids, len(model.iteration_stats)


def _products(x, start, iterations, _):
    import torch

    points, centers = torch.from_numpy(x), torch.from_numpy(start)
    rows = max(256, 2**20 * torch.get_num_threads() // (4 * len(centers)))  # scores that stay in the cache
    scores = torch.empty(len(centers), rows)
    for _ in range(iterations):
        for tile in points.split(rows):
            torch.mm(centers, tile.T, out=scores[:, : len(tile)])
    return None, iterations


def _inertia(x, centers) -> float:
    import numpy as np

    x, centers = x.astype(np.float64), centers.astype(np.float64)
    total, norms = 0.0, np.square(centers).sum(1)
    for start in range(0, len(x), 4096):
        rows = x[start : start + 4096]
        own = centers[(norms - 2 * rows @ centers.T).argmin(1)]
        total += float(np.square(rows - own).sum())
    return total


def prepare(folder: Path, data: Path | None, clusters: int) -> tuple[int, int]:
    """Write the points and one start; returns their shape."""
    import numpy as np
    from sklearn.cluster import kmeans_plusplus

    rng = np.random.default_rng(0)
    if data is None:
        middles = 0.5 * rng.standard_normal((COMPONENTS, DIMENSIONS))
        x = middles[rng.integers(COMPONENTS, size=ROWS)] + rng.standard_normal((ROWS, DIMENSIONS))
    else:
        x = np.load(data)
    x = np.ascontiguousarray(x, dtype=np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "start.npy", kmeans_plusplus(x, clusters, random_state=0)[0])
    return x.shape


def compare(folder: Path, iterations: int, runs: int) -> None:
    """Run all in turn and print the table."""
    seen: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for _ in range(runs):
        for method, results in seen.items():
            command = [sys.executable, __file__, "--child", method, str(folder), "--iterations", str(iterations)]
            results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    median = {}
    for method, results in seen.items():
        seconds = [result["seconds"] for result in results]
        median[method] = statistics.median(seconds)
        print(
            f"{LABELS[method]:<20} {median[method]:8.3f} s ({min(seconds):.3f} to {max(seconds):.3f})  "
            f"{statistics.median(result['mib'] for result in results):6.0f} MiB  "
            f"{results[0]['iterations']:4.0f} iterations"
            + (f"  inertia {results[0]['inertia']:.6g}" if results[0]["inertia"] else "")
        )
    ratios = ", ".join(f"{LABELS[method]} / ours {median[method] / median['ours']:.2f}" for method in METHODS[1:-1])
    print(f"{ratios}, ours / products {median['ours'] / median['products']:.2f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="points (n, d) as .npy; a seeded mixture if not given")
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--iterations", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.child:
        method, folder = arguments.child
        print(json.dumps(measure(method, Path(folder), arguments.iterations[0])))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows, dimensions = prepare(Path(folder), arguments.data, arguments.clusters)
        for iterations in arguments.iterations:
            print(f"{rows:,} x {dimensions}, c = {arguments.clusters}, {iterations} iterations")
            compare(Path(folder), iterations, arguments.runs)


if __name__ == "__main__":
    main()
