"""Choosing without labels: a consensus of the better heads, and whether it beats plain K-Means."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from torchicon.estimators._lloyd import assign, kmeans
from torchicon.estimators.clustering.merging import information, shares

_SAMPLE = 20_000  # rows on which the consensus centers are found

EdgeList = tuple[Tensor, Tensor, Tensor]


def consensus(phi: Tensor, kept: Tensor, generator: torch.Generator) -> Tensor:
    """Labels (n,): K-Means on the side-by-side probabilities (H, n, c) of the half of the heads that keep the most.

    Clusters need no matching between heads, and none comes out empty.
    """
    n_heads, n, n_clusters = phi.shape
    better = kept.argsort(descending=True)[: max(1, n_heads // 2)]
    beside = torch.cat([phi[head] for head in better], 1)
    rows = torch.randperm(n, generator=generator)[:_SAMPLE] if n > _SAMPLE else torch.arange(n)
    found = kmeans(beside[rows], n_clusters, generator)
    return found.labels if len(rows) == n else assign(beside, found.centers)[0]


def soft_targets(labels: Tensor, phi: Tensor, permutation: Tensor) -> Tensor:
    """Probabilities (n, c), half from the consensus (n,) and half from all heads (H, n, c), matched by (H, c, c).

    Where heads disagree the target is unsure, and so will be the head that learns it.
    """
    matched = torch.zeros_like(phi[0])
    for probabilities, match in zip(phi, permutation, strict=True):
        matched += probabilities @ match
    return 0.5 * (torch.nn.functional.one_hot(labels, phi.shape[2]) + matched / len(phi))


def label_information(labels: Tensor, n_clusters: int, edges: EdgeList) -> float:
    """Nats of the graph that hard labels (n,) keep."""
    phi = torch.nn.functional.one_hot(labels, n_clusters).float()
    return float(information(shares(phi[None], edges))[0])


def agreement(phi: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each head, the share of rows on which it agrees with labels after the best matching, and that matching.

    Returns (H,) shares and (H, c, c) permutations: clusters of the head to labels.
    """
    n_heads, n, n_clusters = phi.shape
    target = torch.nn.functional.one_hot(labels, n_clusters).float()
    overlap = torch.stack([torch.nn.functional.one_hot(p.argmax(1), n_clusters).float().T @ target for p in phi])
    permutation = torch.zeros(n_heads, n_clusters, n_clusters)
    share = torch.zeros(n_heads)
    for head, counts in enumerate(overlap):
        row, column = linear_sum_assignment(counts.numpy(), maximize=True)
        permutation[head, row, column] = 1.0
        share[head] = counts[row, column].sum() / n
    return share, permutation
