"""Start, train, merge, train again, agree, keep one head: the steps of `Clustering`, on scaled features and a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchicon.core import Sparse
from torchicon.core.numerics import block_bytes
from torchicon.estimators._lloyd import Partition, assign, kmeans, lloyd, means
from torchicon.estimators.clustering import merging, selection, training
from torchicon.estimators.clustering.graph import Edges, EdgeSample
from torchicon.estimators.clustering.heads import Heads, at_random, from_centers, joined

# To be chosen, a consensus must keep this much more of the graph than K-Means does, or close half of what K-Means
# leaves open to log c, which only clusters without an edge between them reach: smaller differences are noise.
_MARGIN = 0.07
_FEWEST_PIECES = 16  # two or three clusters may be long and curved: overcluster them more
_MOST_PIECES = 1000  # with very many clusters, memory and time set the limit
_LARGEST_BATCH = 4096
_HIDDEN = 128
_PUPILS = 4  # heads nearest to the consensus that learn it; the best pupil is kept
_MOST_EDGES = 200_000  # sums over the graph use all edges up to here, else as many drawn ones
_START_ROWS = 5_000  # rows on which a head's K-Means start is found
_TARGETS = 2**25  # numbers that the consensus is taught from: rows times clusters


@dataclass(frozen=True)
class Recipe:
    """The arguments of `Clustering` that concern the heads."""

    n_clusters: int
    n_heads: int
    merge: int
    mapper: str
    start: str
    steps: int
    learning_rate: float
    debias_p: float
    debias_q: float
    normalization: training.Normalization
    ema: float | None


def run(
    x: Tensor,
    graph: Sparse,
    recipe: Recipe,
    generator: torch.Generator,
    progress: Callable[[int], Iterator[int]],
) -> tuple[Heads, float, list[str]]:
    """One head of ``n_clusters`` for features x (n, d), its divergence in nats, and what happened in sentences."""
    edges = Edges(graph, recipe.debias_p)
    sample = edges.sample(_MOST_EDGES, generator)
    pieces = recipe.n_clusters
    if recipe.merge > 1:
        pieces = max(pieces, min(max(recipe.merge * pieces, _FEWEST_PIECES), len(x) // 5, _MOST_PIECES))
    objective = training.Objective(recipe.debias_q, recipe.normalization, recipe.ema)
    after = recipe.steps * 3 // 8 if pieces > recipe.n_clusters else 0
    # Heads learn side by side as far as a step's probabilities fit into a block, and else one after the other.
    together = max(1, block_bytes() // (8 * _batch_size(len(x), pieces) * pieces))
    parts = [min(together, recipe.n_heads - first) for first in range(0, recipe.n_heads, together)]
    count = progress(len(parts) * (recipe.steps + after))

    def train(heads: Heads, total: int, rate: float) -> Heads:
        return training.train(
            heads,
            x,
            edges,
            objective,
            steps=(step for step, _ in zip(range(total), count, strict=False)),
            total=total,
            learning_rate=rate,
            batch_size=_batch_size(len(x), heads.groups.shape[1]),
            generator=generator,
        )

    def learn(n_heads: int) -> Heads:
        heads = train(_start(x, n_heads, pieces, recipe, generator), recipe.steps, recipe.learning_rate)
        if pieces == recipe.n_clusters:
            return heads
        groups = merging.merge(merging.edge_shares(heads, x, sample), recipe.n_clusters)
        return train(heads.merged(groups.to(x.device)), after, 0.3 * recipe.learning_rate)

    heads = joined([learn(n_heads) for n_heads in parts])
    notes = [f"Heads: {recipe.n_heads} {recipe.mapper} heads of {pieces} clusters, {recipe.steps} steps."]
    if pieces > recipe.n_clusters:
        notes.append(f"Merged to {recipe.n_clusters} clusters where that keeps most of the graph; {after} more steps.")
    if recipe.n_heads > 1 or recipe.start == "kmeans":
        heads, told = _choose(x[sample.rows], heads, sample, recipe, generator)
        notes += told
    return heads, training.divergence(heads, x, edges, objective, _MOST_EDGES, generator), notes


def _batch_size(n: int, n_clusters: int) -> int:
    """A batch must hold several of each cluster."""
    return min(n, max(256, min(8 * n_clusters, _LARGEST_BATCH)))


def _start(x: Tensor, n_heads: int, pieces: int, recipe: Recipe, generator: torch.Generator) -> Heads:
    sizes = [x.shape[1], pieces] if recipe.mapper == "linear" else [x.shape[1], _HIDDEN, pieces]
    if recipe.start == "random":
        return at_random(n_heads, sizes, generator, x.device)
    # Each head starts from rows of its own: cheap, and one more reason for heads to differ.
    most = max(_START_ROWS, 32 * pieces)
    found = [kmeans(_drawn(x, most, generator), pieces, generator, n_init=1, max_iter=30) for _ in range(n_heads)]
    linear = _from_partitions(found)
    if recipe.mapper == "linear":
        return linear
    heads = at_random(n_heads, sizes, generator, x.device)
    return training.distill(
        heads,
        x,
        lambda index: linear(x[index]).detach(),
        total=200,
        learning_rate=0.01,
        batch_size=min(len(x), 256),
        generator=generator,
    )


def _choose(
    x: Tensor, heads: Heads, sample: EdgeSample, recipe: Recipe, generator: torch.Generator
) -> tuple[Heads, list[str]]:
    """The head that is kept, by the rows x (r, d) of the edge sample."""
    n_clusters, n_heads = recipe.n_clusters, len(heads.groups)

    def information(labels: Tensor) -> float:
        return merging.label_information(labels, n_clusters, sample)

    kept = torch.tensor([information(labels) for labels in heads.labels(x)], device=generator.device)
    labels = selection.consensus(heads, kept, x, generator)
    plain = _plain_kmeans(x, labels, n_clusters, generator)
    nats, plain_nats = information(labels), information(assign(x, plain.centers)[0])
    agreed = f"the consensus of {n_heads // 2} heads" if n_heads > 3 else "the best head"
    compared = f"{agreed} keeps {nats:.3f} nats of the graph, K-Means {plain_nats:.3f}"
    clear = min((1 + _MARGIN) * plain_nats, 0.5 * (plain_nats + math.log(n_clusters)))
    if nats <= clear:
        return _from_partitions([plain]), [
            f"Chose K-Means: {compared}; more than {clear:.3f} would have been a clear gain."
        ]
    share, source = selection.agreement(heads, x, labels)
    heads = heads.ordered(source)
    taught = _drawn(torch.arange(len(x), device=x.device), max(1, _TARGETS // n_clusters), generator)
    pupils = training.distill(
        heads.pick(share.argsort(descending=True)[:_PUPILS]),
        x[taught],
        selection.soft_targets(labels[taught], heads, x[taught]),
        total=200,
        learning_rate=recipe.learning_rate,
        batch_size=min(len(taught), 1024),
        generator=generator,
    )
    said = pupils.labels(x)
    learned = (said == labels).float().mean(1)
    best = learned.argmax()
    if len(torch.unique(said[best])) < n_clusters:
        return _from_partitions([plain]), [
            f"Chose K-Means: {compared}, but no single head could tell all of those clusters apart."
        ]
    return pupils.pick(best[None]), [
        f"Chose the graph's clusters: {compared}; {clear:.3f} was needed.",
        f"One head was taught the consensus and agrees with it on {100 * learned.max():.1f} % of the rows.",
    ]


def _plain_kmeans(x: Tensor, labels: Tensor, n_clusters: int, generator: torch.Generator) -> Partition:
    """The best of some starts and of one from the consensus's means, which often is a better optimum than any."""
    rows = x[selection.rows_of(len(x), n_clusters, generator).to(x.device)]
    guided = lloyd(rows, means(x, labels, n_clusters), max_iter=300, tolerance=0.0)
    found = kmeans(rows, n_clusters, generator, n_init=selection.restarts(n_clusters))
    return min(found, guided, key=lambda partition: partition.inertia)


def _drawn(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    if len(x) <= most:
        return x
    return x[torch.randperm(len(x), generator=generator, device=generator.device)[:most].to(x.device)]


def _from_partitions(found: list[Partition]) -> Heads:
    """Linear heads from partitions of rows."""
    centers = torch.stack([partition.centers for partition in found])
    return from_centers(centers, centers.new_tensor([partition.inertia / len(partition.labels) for partition in found]))
