"""InfoNCE (SimCLR's loss), forward and backward: ours against the peers' ways of computing it.

    python benchmarks/infonce.py                              # 1,024, 4,096 and 16,384 rows of 128 dimensions
    python benchmarks/infonce.py --rows 131072 --methods ours floor

Every method gets the same float32 rows, of which 2i and 2i + 1 are positives, at temperature 0.1. "lightly" and
"official-icon" are the formulas of those packages in plain torch; "pml-..." is pytorch-metric-learning itself. "floor"
is the two matrix products that no exact method does without: the scores, and their gradient times the rows.
"""

from __future__ import annotations

import numpy as np
from harness import Benchmark, too_large

DIMENSIONS, TEMPERATURE = 128, 0.1
# Bytes at the peak for each pair of rows, and for each triple, as measured at 4,096 and 512 rows.
PAIR_BYTES = {"plain": 17, "lightly": 18, "official-icon": 18, "pml-supcon": 49}
TRIPLE_BYTES = {"pml-ntxent": 17}


def ours():
    import torch

    from torchicon import Cosine, Positives, objective

    positives, cosine = Positives(), Cosine(TEMPERATURE)
    return lambda z: objective(positives(torch.arange(len(z)) // 2), cosine(z))


def plain():
    """All scores, the diagonal masked, and the cross-entropy of the log-softmax."""
    import torch

    def loss(z):
        unit = torch.nn.functional.normalize(z, dim=1)
        scores = unit @ unit.T / TEMPERATURE
        scores = scores.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
        return torch.nn.functional.cross_entropy(scores, torch.arange(len(z)) ^ 1)

    return loss


def lightly():
    """The two views apart: four blocks of scores, own scores cut out of two of them, positives first in a row."""
    import torch

    def loss(z):
        unit = torch.nn.functional.normalize(z, dim=1)
        first, second = unit[0::2], unit[1::2]
        pairs = len(first)
        others = ~torch.eye(pairs, dtype=torch.bool)
        across, back = first @ second.T / TEMPERATURE, second @ first.T / TEMPERATURE
        within_first = (first @ first.T / TEMPERATURE)[others].view(pairs, pairs - 1)
        within_second = (second @ second.T / TEMPERATURE)[others].view(pairs, pairs - 1)
        scores = torch.cat([torch.cat([across, within_first], 1), torch.cat([back, within_second], 1)])
        return torch.nn.functional.cross_entropy(scores, torch.arange(pairs).repeat(2))

    return loss


def official_icon():
    """Two dense (n, n) neighborhoods, of equal labels and of cosines, and their cross-entropy over all cells."""
    import torch

    def loss(z):
        unit = torch.nn.functional.normalize(z, dim=1)
        own = torch.eye(len(z), dtype=torch.bool)
        label = torch.arange(len(z)) // 2
        p = (label[:, None] == label).float().masked_fill_(own, 0.0)
        p = p / p.sum(1, keepdim=True)
        log_q = (unit @ unit.T / TEMPERATURE).masked_fill(own, -torch.inf).log_softmax(1)
        return -(p * log_q.masked_fill(own, 0.0)).sum(1).mean()

    return loss


def metric_learning(name):
    import torch
    from pytorch_metric_learning import losses

    loss = getattr(losses, name)(temperature=TEMPERATURE)
    return lambda z: loss(z, torch.arange(len(z)) // 2)


LOSSES = {
    "ours": ours,
    "plain": plain,
    "lightly": lightly,
    "official-icon": official_icon,
    "pml-supcon": lambda: metric_learning("SupConLoss"),
    "pml-ntxent": lambda: metric_learning("NTXentLoss"),
}


def forward_and_backward(make_loss):
    """How to prepare a loss."""

    def prepare(task):
        import torch

        loss_of = make_loss()

        def once(z):
            z.grad = None
            loss = loss_of(z)
            loss.backward()
            return {"loss": loss.item()}

        once(torch.from_numpy(task.z[:128]).clone().requires_grad_())
        z = torch.from_numpy(task.z).requires_grad_()
        return lambda: once(z)

    return prepare


def floor(task):
    """Two products of n x n x d operations, tile by tile in the cache."""
    import torch

    z = torch.from_numpy(task.z)
    z[:128] @ z[:128].T
    tiles = z.split(1024)

    def work():
        for rows in tiles:
            gradient = torch.zeros_like(rows)
            for columns in tiles:
                gradient.addmm_(rows @ columns.T, columns)
        return {}

    return work


METHODS = {name: forward_and_backward(make) for name, make in LOSSES.items()} | {"floor": floor}


def batch(rows):
    return {"z": np.random.default_rng(0).standard_normal((rows, DIMENSIONS), dtype=np.float32)}


def main():
    benchmark = Benchmark(__doc__, METHODS)
    benchmark.parser.add_argument("--rows", type=int, nargs="+", default=[1024, 4096, 16384])
    for rows in benchmark.parse().rows:
        benchmark.compare(
            f"InfoNCE, {rows:,} rows",
            batch(rows),
            skip=lambda name, n=rows: too_large(PAIR_BYTES.get(name, 0) * n**2 + TRIPLE_BYTES.get(name, 0) * n**3),
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
