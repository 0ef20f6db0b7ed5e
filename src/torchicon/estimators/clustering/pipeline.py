"""Start, train, merge, train again, agree, keep one head: the steps of `Clustering`, on scaled features and a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchicon.core import Sparse
from torchicon.estimators._lloyd import Partition, assign, kmeans, lloyd, means
from torchicon.estimators.clustering import merging, selection, training
from torchicon.estimators.clustering.graph import Edges
from torchicon.estimators.clustering.heads import Heads, at_random, from_centers

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
_PLAIN_ROWS = 20_000  # rows on which plain K-Means is


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
) -> tuple[Heads, list[str]]:
    """One head of ``n_clusters`` for features x (n, d), and what happened in sentences."""
    edges = Edges(graph, recipe.debias_p)
    listed = edges.listed(_MOST_EDGES, generator)
    pieces = recipe.n_clusters
    if recipe.merge > 1:
        pieces = max(pieces, min(max(recipe.merge * pieces, _FEWEST_PIECES), len(x) // 5, _MOST_PIECES))
    objective = training.Objective(recipe.debias_q, recipe.normalization, recipe.ema)
    after = recipe.steps * 3 // 8 if pieces > recipe.n_clusters else 0
    count = progress(recipe.steps + after)

    def train(heads: Heads, total: int, rate: float) -> Heads:
        # A batch must hold several of each cluster.
        batch_size = min(len(x), max(256, min(8 * heads.groups.shape[1], _LARGEST_BATCH)))
        return training.train(
            heads,
            x,
            edges,
            objective,
            steps=(step for step, _ in zip(range(total), count, strict=False)),
            total=total,
            learning_rate=rate,
            batch_size=batch_size,
            generator=generator,
        )

    heads = train(_start(x, pieces, recipe, generator), recipe.steps, recipe.learning_rate)
    notes = [f"Heads: {recipe.n_heads} {recipe.mapper} heads of {pieces} clusters, {recipe.steps} steps."]
    if pieces > recipe.n_clusters:
        groups = merging.merge(merging.edge_shares(heads, x, listed), recipe.n_clusters)
        heads = train(heads.merged(groups), after, 0.3 * recipe.learning_rate)
        notes.append(f"Merged to {recipe.n_clusters} clusters where that keeps most of the graph; {after} more steps.")
    if recipe.n_heads == 1 and recipe.start == "random":
        return heads, notes
    head, told = _choose(x, heads, listed, recipe, generator)
    return head, [*notes, *told]


def _start(x: Tensor, pieces: int, recipe: Recipe, generator: torch.Generator) -> Heads:
    sizes = [x.shape[1], pieces] if recipe.mapper == "linear" else [x.shape[1], _HIDDEN, pieces]
    if recipe.start == "random":
        return at_random(recipe.n_heads, sizes, generator)
    # Each head starts from rows of its own: cheap, and one more reason for heads to differ.
    most = max(_START_ROWS, 32 * pieces)
    found = [
        kmeans(_sample(x, most, generator), pieces, generator, n_init=1, max_iter=30) for _ in range(recipe.n_heads)
    ]
    linear = _from_partitions(found, min(len(x), most))
    if recipe.mapper == "linear":
        return linear
    heads = at_random(recipe.n_heads, sizes, generator)
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
    x: Tensor, heads: Heads, listed: selection.EdgeList, recipe: Recipe, generator: torch.Generator
) -> tuple[Heads, list[str]]:
    n_clusters = recipe.n_clusters
    phi = heads.probabilities(x)
    kept = merging.information(merging.edge_shares(heads, x, listed, hard=True))
    labels = selection.consensus(phi, kept, generator)
    plain = _plain_kmeans(x, labels, n_clusters, generator)
    nats = selection.label_information(labels, n_clusters, listed)
    plain_nats = selection.label_information(assign(x, plain.centers)[0], n_clusters, listed)
    agreed = f"the consensus of {len(phi) // 2} heads" if len(phi) > 3 else "the best head"
    compared = f"{agreed} keeps {nats:.3f} nats of the graph, K-Means {plain_nats:.3f}"
    clear = min((1 + _MARGIN) * plain_nats, 0.5 * (plain_nats + math.log(n_clusters)))
    kmeans_head = _from_partitions([plain], min(len(x), _PLAIN_ROWS))
    if nats <= clear:
        return kmeans_head, [f"Chose K-Means: {compared}; more than {clear:.3f} would have been a clear gain."]
    share, permutation = selection.agreement(phi, labels)
    nearest = share.argsort(descending=True)[:_PUPILS]
    targets = selection.soft_targets(labels, phi, permutation)
    pupils = training.distill(
        heads.merged(permutation).pick(nearest),
        x,
        lambda index: targets[index],
        total=200,
        learning_rate=recipe.learning_rate,
        batch_size=min(len(x), 1024),
        generator=generator,
    )
    said = pupils.probabilities(x).argmax(-1)
    learned = (said == labels).float().mean(1)
    if len(torch.unique(said[learned.argmax()])) < n_clusters:
        return kmeans_head, [f"Chose K-Means: {compared}, but no single head could tell all of those clusters apart."]
    return pupils.pick(learned.argmax()[None]), [
        f"Chose the graph's clusters: {compared}; {clear:.3f} was needed.",
        f"One head was taught the consensus and agrees with it on {100 * learned.max():.1f} % of the rows.",
    ]


def _plain_kmeans(x: Tensor, labels: Tensor, n_clusters: int, generator: torch.Generator) -> Partition:
    """The best of ten starts and of one from the consensus's means, which often is a better optimum than any."""
    rows = _sample(x, _PLAIN_ROWS, generator)
    guided = lloyd(rows, means(x, labels, n_clusters), max_iter=300, tolerance=0.0)
    return min(kmeans(rows, n_clusters, generator), guided, key=lambda partition: partition.inertia)


def _sample(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    return x if len(x) <= most else x[torch.randperm(len(x), generator=generator)[:most]]


def _from_partitions(found: list[Partition], rows: int) -> Heads:
    """Linear heads from partitions of ``rows`` rows each."""
    sq_radius = torch.tensor([partition.inertia / rows for partition in found])
    return from_centers(torch.stack([partition.centers for partition in found]), sq_radius)
