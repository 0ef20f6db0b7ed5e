"""How time and memory of ours grow: n, 2n, 4n, 8n, the exponents fitted in log-log, and the floor beside each.

    python benchmarks/growth.py                                   # all three below
    python benchmarks/growth.py --work InfoNCE --first 16384      # up to 131,072 rows

* InfoNCE: forward and backward, as in infonce.py. Floor: two matrix products.
* t-SNE iteration: one of a fit that starts as wide as maps end (a square with sides of 0.8 sqrt(n)), with the 90
  nearest as neighbors. Floor: whoever interpolates transforms the charges, and back the two components of the force,
  on a lattice of twice the map's width with nodes at half the kernel's (three real FFTs); and everyone reads the edges,
  an index and a weight of four bytes each, at the machine's bandwidth.
* K-Means: ten iterations from a seeded start, d = 50, c = 100. Floor: ten products of the rows and the centers.
"""

from __future__ import annotations

import time

import infonce
import numpy as np
from harness import Benchmark

NEIGHBORS, CLUSTERS, ITERATIONS = 90, 100, 10
SMALLEST = {"seconds": 0.0, "mib": 1.0}  # a process holds memory in pieces of about this


def crowded_map(rows):
    """A map and its neighbors."""
    from scipy.spatial import KDTree

    y = np.random.default_rng(0).uniform(0, 0.8 * rows**0.5, (rows, 2)).astype(np.float32)
    return {"y": y, "neighbors": KDTree(y).query(y, NEIGHBORS + 1, workers=-1)[1][:, 1:]}


def iteration(task):
    """The time between two looks at the map, 50 iterations apart; memory is that of the whole fit from given p."""
    import torch

    from torchicon import Candidates, NeighborEmbedding, Sparse

    def fit(y, neighbors):
        looks = []
        NeighborEmbedding(
            p=Sparse.from_neighbors(torch.from_numpy(neighbors), candidates=Candidates.others(len(y))),
            early_exaggeration=1.0,
            max_iter=101,
            init=y,
            callback=lambda iteration, kl, positions: looks.append((iteration, time.perf_counter())),
            verbose=False,
        ).fit(y)
        (first, start), (last, end) = looks[-2:]
        return {"seconds": (end - start) / (last - first)}

    few = 200
    fit(task.y[:few], (np.arange(few)[:, None] + np.arange(1, 11)) % few)
    return lambda: fit(task.y, task.neighbors)


def iteration_floor(task):
    import torch
    from scipy.fft import next_fast_len

    nodes = next_fast_len(int(4 * np.ptp(task.y)), real=True)
    lattice = torch.ones(nodes, nodes)
    edges = torch.ones(2 * task.neighbors.size)  # symmetric, so up to twice as many; one float32 each half of an edge

    def work():
        spectrum = torch.fft.rfft2(lattice)
        torch.fft.irfft2(spectrum)
        torch.fft.irfft2(spectrum)
        edges.sum()
        return {}

    work()
    return work


def blobs(rows):
    return {"x": np.random.default_rng(0).standard_normal((rows, 50), dtype=np.float32)}


def lloyd(task):
    from torchicon import KMeans

    def fit(x, clusters):
        return KMeans(clusters, n_init=1, max_iter=ITERATIONS, tol=0.0, random_state=task.seed).fit(x)

    fit(task.x[:500], 5)
    return lambda: {"inertia": fit(task.x, CLUSTERS).inertia_}


def lloyd_floor(task):
    import torch

    x = torch.from_numpy(task.x)
    centers = x[:CLUSTERS].T.contiguous()
    tiles = x.split(8192)

    def work():
        for _ in range(ITERATIONS):
            for tile in tiles:
                tile @ centers
        return {}

    work()
    return work


# what is prepared, first size, the data, ours, the floor
WORKS = {
    "InfoNCE": (16384, infonce.batch, infonce.METHODS["ours"], infonce.floor),
    "t-SNE iteration": (8192, crowded_map, iteration, iteration_floor),
    "K-Means": (16384, blobs, lloyd, lloyd_floor),
}


def ours(task):
    return WORKS[task.work][2](task)


def floor(task):
    return WORKS[task.work][3](task)


def growth(title, sizes, records):
    """A record of the exponents: the slopes of log time and log memory over log size by least squares."""
    exponents = {}
    for what, key in (("time", "seconds"), ("memory", "mib")):
        values = [np.median(record[key]) for record in records if record[key]]
        if len(values) == len(sizes) and min(values) > SMALLEST[key]:
            exponents[f"{what} exponent"] = [float(np.polyfit(np.log(sizes), np.log(values), 1)[0])]
    return {"work": title, "method": records[0]["method"], "seconds": [], "mib": [], "quality": exponents, "note": None}


def main():
    benchmark = Benchmark(__doc__, {"ours": ours, "floor": floor}, runs=3)
    benchmark.parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    benchmark.parser.add_argument("--first", type=int, help="n (default: that of each work)")
    arguments = benchmark.parse()
    for name in arguments.work:
        first, data = WORKS[name][:2]
        sizes = [(arguments.first or first) * factor for factor in (1, 2, 4, 8)]
        found = [benchmark.compare(f"{name}, {n:,} rows", {"work": name} | data(n)) for n in sizes]
        title = f"{name}, {sizes[0]:,} to {sizes[-1]:,} rows"
        benchmark.add(*(growth(title, sizes, records) for records in zip(*found, strict=True)))
    benchmark.finish()


if __name__ == "__main__":
    main()
