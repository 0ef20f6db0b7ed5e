"""One step of clustering without labels: forward and backward of I-Con's debiased objective with a linear head.

    python benchmarks/clustering_step.py                         # batch 4,096, 768 features, 1,000 clusters
    python benchmarks/clustering_step.py --batch 1024 --clusters 100

Features to logits, softmax, KL(p || q) with ten neighbors a row in p, p and q debiased by .6, the gradient of the head.
"plain" is the formula with all batch x batch probabilities; "products" are the matrix products of that formula alone:
the head forward and backward (its features need no gradient), and phi phi' forward and twice backward. q is symmetric,
so half of the latter suffice.
"""

from __future__ import annotations

import numpy as np
from harness import Benchmark, too_large

FEATURES, NEIGHBORS, DEBIAS = 768, 10, 0.6
PLAIN_PEAK = 28  # bytes a pair


def ours(task):
    import torch

    from torchicon import Clusters, debias, objective
    from torchicon.core import Candidates, Sparse

    def loss(x, head, neighbors):
        p = Sparse.from_neighbors(neighbors, candidates=Candidates.all(len(x)))
        q = Clusters()((x @ head.T).softmax(1))
        return objective(debias(p, DEBIAS), debias(q, DEBIAS))

    return step(torch, task, loss)


def plain(task):
    import torch

    def loss(x, head, neighbors):
        n, k = neighbors.shape
        phi = (x @ head.T).softmax(1)
        q = (1 - DEBIAS) * (phi @ (phi / phi.sum(0)).T) + DEBIAS / n
        p = torch.full((n, n), DEBIAS / n).scatter_add_(1, neighbors, torch.full((n, k), (1 - DEBIAS) / k))
        return (p * (p.log() - q.log())).sum(1).mean()

    return step(torch, task, loss)


def step(torch, task, loss):
    """Forward and backward; a small batch first, which is not timed."""

    def once(n):
        neighbors = torch.from_numpy(task.neighbors)[:n] % n
        head = torch.from_numpy(task.head).requires_grad_()
        value = loss(torch.from_numpy(task.x)[:n], head, neighbors)
        value.backward()
        return {"loss": value.item()}

    once(NEIGHBORS)  # the neighbors of row i are i + 1, i + 2, ... and stay distinct
    return lambda: once(len(task.x))


def products(task):
    import torch

    x, head = torch.from_numpy(task.x), torch.from_numpy(task.head)
    x[:64] @ head.T

    def work():
        phi = x @ head.T
        pairs = phi @ phi.T
        phi = torch.mm(pairs, phi).add_(torch.mm(pairs.T, phi))
        phi.T @ x
        return {}

    return work


METHODS = {"ours": ours, "plain": plain, "products": products}


def batch(n, clusters):
    generator = np.random.default_rng(0)
    return {
        "x": generator.standard_normal((n, FEATURES), dtype=np.float32),
        "head": 0.05 * generator.standard_normal((clusters, FEATURES), dtype=np.float32),
        "neighbors": (np.arange(n)[:, None] + np.arange(1, NEIGHBORS + 1)) % n,
    }


def main():
    benchmark = Benchmark(__doc__, METHODS)
    benchmark.parser.add_argument("--batch", type=int, nargs="+", default=[4096])
    benchmark.parser.add_argument("--clusters", type=int, default=1000)
    arguments = benchmark.parse()
    for n in arguments.batch:
        benchmark.compare(
            f"Clustering step, batch {n:,}, {arguments.clusters:,} clusters",
            batch(n, arguments.clusters),
            skip=lambda name, n=n: too_large(PLAIN_PEAK * n**2) if name == "plain" else None,
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
