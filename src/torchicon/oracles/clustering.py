"""K-Means and InfoNCE clustering by centroids, entropies and softmax, in plain numpy and torch."""

from __future__ import annotations

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from torchicon.oracles.registry import Oracle, Pair, Problem

BANDWIDTH, NEIGHBORS = 1.5, 3  # the examples'


def kmeans(problem: Problem) -> Pair:
    """Theory 4e: probabilistic inertia around centroids / sigma² - entropies of the cluster rows + log normalizers."""
    x, logits = problem["x"], problem["logits"].clone().requires_grad_()
    phi = logits.softmax(1)
    size = phi.sum(0)
    centroids = (phi.T @ x) / size[:, None]
    inertia = sum(phi[i, c] * ((x[i] - centroids[c]) ** 2).sum() for i in range(len(x)) for c in range(len(size)))
    q = torch.einsum("ic,jc,c->ij", phi, phi, 1 / size)
    entropies = torch.special.entr(q).sum()
    log_z = torch.stack([torch.logsumexp(-((x[i] - x) ** 2).sum(1) / (2 * BANDWIDTH**2), 0) for i in range(len(x))])
    value = inertia / BANDWIDTH**2 - entropies + log_z.sum()
    return value.detach(), torch.autograd.grad(value, logits)[0]


def infonce_by_cluster(problem: Problem) -> Pair:
    """Minus the mean log of sum_c phi_ic phi_jc / n_c over the k nearest j, minus log k (I-Con; TEMI with beta = 1)."""
    logits = problem["logits"].clone().requires_grad_()
    phi = logits.softmax(1)
    size = phi.sum(0)
    index = _neighbors(problem["x"])
    value = torch.stack(
        [-((phi[i] * phi[j]) / size).sum().log() for i in range(len(phi)) for j in index[i].tolist()]
    ).mean() - torch.log(torch.tensor(float(NEIGHBORS), dtype=torch.float64))
    return value.detach(), torch.autograd.grad(value, logits)[0]


def infonce_by_point(problem: Problem) -> Pair:
    """Softmax over candidates of the log-dot critic log phi_i . phi_j (Do et al. 2021), k nearest as positives."""
    logits = problem["logits"].clone().requires_grad_()
    phi = logits.softmax(1)
    critic = (phi @ phi.T).log()
    target = torch.zeros_like(critic).scatter(1, _neighbors(problem["x"]), 1 / NEIGHBORS)
    value = torch.nn.functional.cross_entropy(critic, target) - torch.log(
        torch.tensor(float(NEIGHBORS), dtype=torch.float64)
    )
    return value.detach(), torch.autograd.grad(value, logits)[0]


def _neighbors(x: Tensor) -> Tensor:
    return torch.from_numpy(NearestNeighbors(n_neighbors=NEIGHBORS).fit(x.numpy()).kneighbors(return_distance=False))


ORACLES: dict[str, Oracle] = {
    "kmeans": kmeans,
    "infonce_by_cluster": infonce_by_cluster,
    "infonce_by_point": infonce_by_point,
}
