"""k nearest neighbors: ours against FAISS (flat), scikit-learn, pynndescent and openTSNE's index; time and recall.

    python benchmarks/neighbors.py                                     # 30,000 rows near a surface, k = 90
    python benchmarks/neighbors.py --data FILE... --components 50

Recall is the share of the exact neighbors, by scikit-learn in float64, of 2,000 rows drawn with a seed.
"""

from __future__ import annotations

import numpy as np
import sources
from harness import Benchmark
from quality import others, recall

SAMPLE = 2000


def warm_up():
    """Enough rows for every library to take its usual way."""
    return np.random.default_rng(0).standard_normal((1200, 20), dtype=np.float32)


def ours(task):
    from torchicon.neighborhoods.nearest import nearest

    nearest(warm_up(), 10)
    return lambda: {"index": nearest(task.x, task.k).index.numpy()}


def faiss_flat(task):
    import faiss

    def search(x, k):
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return others(index.search(x, k + 1)[1])

    search(warm_up(), 10)
    return lambda: {"index": search(task.x, task.k)}


def scikit_learn(task):
    from sklearn.neighbors import NearestNeighbors

    def search(x, k):
        return NearestNeighbors(n_neighbors=k, n_jobs=task.threads).fit(x).kneighbors(return_distance=False)

    search(warm_up(), 10)
    return lambda: {"index": search(task.x, task.k)}


def pynndescent(task):
    from pynndescent import NNDescent

    def search(x, k):
        return others(NNDescent(x, n_neighbors=k + 1, random_state=task.seed).neighbor_graph[0])

    search(warm_up(), 10)
    return lambda: {"index": search(task.x, task.k)}


def opentsne(task):
    """The index that openTSNE's affinities take by themselves: exact below 1,000 rows, else Annoy."""
    from openTSNE.affinity import get_knn_index

    def search(x, k):
        index = get_knn_index(x, "auto", k, "euclidean", n_jobs=task.threads, random_state=task.seed)
        return index.build()[0]

    search(warm_up(), 10)
    return lambda: {"index": search(task.x, task.k)}


METHODS = {
    "ours": ours,
    "faiss-flat": faiss_flat,
    "scikit-learn": scikit_learn,
    "pynndescent": pynndescent,
    "openTSNE": opentsne,
}


class Recall:
    """The recall of an (n, k) index on a seeded sample of the rows of x."""

    def __init__(self, x, k):
        from sklearn.neighbors import NearestNeighbors

        generator = np.random.default_rng(0)
        self.rows = generator.choice(len(x), min(SAMPLE, len(x)), replace=False)
        search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x.astype(float))
        self.exact = others(search.kneighbors(x[self.rows].astype(float), return_distance=False), self.rows)

    def __call__(self, method, figures):
        return {"recall": recall(figures["index"][self.rows], self.exact)}


def main():
    benchmark = Benchmark(__doc__, METHODS)
    sources.add_options(benchmark.parser, "surface")
    benchmark.parser.add_argument("--neighbors", type=int, default=90, metavar="K", help="default 90")
    arguments = benchmark.parse()
    source, k = sources.load(arguments), arguments.neighbors
    judge = Recall(source.x, k)
    benchmark.compare(f"{k} neighbors of {source.name}", {"x": source.x, "k": k}, once=["pynndescent"], judge=judge)
    benchmark.finish()


if __name__ == "__main__":
    main()
