"""Normalized cuts: ours against scikit-learn's SpectralClustering with each of its ways to assign labels.

    python benchmarks/normalized_cuts.py                               # scikit-learn's digits, 10 clusters
    python benchmarks/normalized_cuts.py --data FILE[:LABELS] --clusters 10

10 neighbors, everything else as the library has it, a seed a run. The first table has whole fits, the second fits of
a graph that is given, scikit-learn's own. NCut is by one code for all, on that graph without its loops; ours is made
on its own graph in the first table, which differs where distances are equal.
"""

from __future__ import annotations

import numpy as np
import sources
from harness import Benchmark
from scipy.sparse import csr_matrix
from sklearn.neighbors import kneighbors_graph

NEIGHBORS = 10


def graph_of(x):
    """scikit-learn's graph: (n, n), symmetric, each point its own neighbor."""
    connectivity = kneighbors_graph(x, NEIGHBORS, include_self=True)
    return 0.5 * (connectivity + connectivity.T)


def prepare(make):
    """How to prepare an estimator: of rows, or of a graph if one is given."""

    def ready(task):
        small = np.random.default_rng(0).standard_normal((300, 3))
        make(2, task.seed, "nearest_neighbors").fit(small)
        if not hasattr(task, "indptr"):
            model, data = make(task.clusters, task.seed, "nearest_neighbors"), task.x
        else:
            model = make(task.clusters, task.seed, "precomputed")
            data = csr_matrix((task.weight, task.indices, task.indptr))
        return lambda: {"labels": model.fit(data).labels_}

    return ready


def ours(clusters, seed, affinity):
    from torchicon import NormalizedCuts

    return NormalizedCuts(clusters, affinity=affinity, n_neighbors=NEIGHBORS, random_state=seed)


def scikit_learn(way):
    def make(clusters, seed, affinity):
        from sklearn.cluster import SpectralClustering

        options = {"affinity": affinity, "n_neighbors": NEIGHBORS, "assign_labels": way}
        return SpectralClustering(clusters, random_state=seed, **options)

    return make


METHODS = {
    "ours": prepare(ours),
    "scikit-learn": prepare(scikit_learn("kmeans")),
    "discretize": prepare(scikit_learn("discretize")),
    "cluster-qr": prepare(scikit_learn("cluster_qr")),
}


def ncut(graph, labels):
    """Sum over clusters of the weight that leaves one / its volume; loops are no edges."""
    edges = graph.tocoo()
    kept = edges.row != edges.col
    weight, source, target = edges.data[kept], labels[edges.row[kept]], labels[edges.col[kept]]
    leaves = source != target
    return float((np.bincount(source[leaves], weight[leaves], labels.max() + 1) / np.bincount(source, weight)).sum())


def main():
    benchmark = Benchmark(__doc__, METHODS)
    sources.add_options(benchmark.parser, "digits")
    benchmark.parser.add_argument("--clusters", type=int, default=10, metavar="C", help="default 10")
    arguments = benchmark.parse()
    source = sources.load(arguments)
    graph = graph_of(source.x)

    def judge(method, figures):
        return {"NCut": ncut(graph, figures["labels"])}

    task = {"clusters": arguments.clusters}
    benchmark.compare(f"cuts of {source.name}", {**task, "x": source.x}, judge=judge)
    given = {"weight": graph.data, "indices": graph.indices, "indptr": graph.indptr}
    benchmark.compare("the same, graph given", {**task, **given}, judge=judge)
    benchmark.finish()


if __name__ == "__main__":
    main()
