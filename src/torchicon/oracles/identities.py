"""The other face of each identity: graphs counted one by one, scipy's Laplacian, a maximizer, means, centroids."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse.csgraph import laplacian
from torch import Tensor

from torchicon.oracles.affinities import Matrix
from torchicon.oracles.registry import Oracle, Pair, Problem

COSINE, ENTROPY = 0.1, 0.5  # SimCLR's temperature, and that of the maximum-entropy row
LAPLACIAN, GAUSSIAN, SHARE = 0.4, 0.3, 0.8  # of the sum of losses
SNE = 0.5  # sigma^2 of exp(-d)


def graph_cross_entropy_of_views(problem: Problem) -> Pair:
    """Tan et al. 2024, section 3: the graph of pi = 1[other view] against that of k = exp(-d / 2 tau), unit rows."""
    z = problem["z"].clone().requires_grad_()
    pi = torch.zeros(4, 4, dtype=z.dtype)
    pi[range(4), [2, 3, 0, 1]] = 1.0
    value = _graph_cross_entropy(pi, _gaussian(z / z.norm(dim=1, keepdim=True), COSINE))
    return value.detach(), torch.autograd.grad(value, z)[0]


def graph_cross_entropy_of_weights(problem: Problem) -> Pair:
    """The same for pi = the graph's weights and k = exp(-d)."""
    z = problem["z"].clone().requires_grad_()
    value = _graph_cross_entropy(problem["weight"], _gaussian(z, SNE))
    return value.detach(), torch.autograd.grad(value, z)[0]


def _graph_cross_entropy(pi: Tensor, kernel: Tensor) -> Tensor:
    """-sum_W P(W; pi) log P(W; k), both normalized over all graphs on four nodes with one out-neighbor a node.

    Of the 4096 graphs without loops the 81 with unitary out-degree are kept: no use is made of independent rows.
    """
    cells = torch.tensor([(i, j) for i in range(4) for j in range(4) if i != j])
    bits = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(cells))), dtype=pi.dtype)
    graphs = torch.zeros(len(bits), 4, 4, dtype=pi.dtype)
    graphs[:, cells[:, 0], cells[:, 1]] = bits
    graphs = graphs[(graphs.sum(2) == 1).all(1)]
    given, learned = ((weight**graphs).flatten(1).prod(1) for weight in (pi, kernel))
    return -(given / given.sum() * (learned / learned.sum()).log()).sum()


def spectral_of_views(problem: Problem) -> Pair:
    """Theory 2.6: tr(Z^T L Z) / tau + sum_i log sum_{j != i} k_ij, with scipy's Laplacian of the pairs."""
    z = problem["z"].clone().requires_grad_()
    pairs = np.roll(np.eye(len(z)), len(z) // 2, axis=1)  # i and i + B; symmetric as it is
    value = _spectral(pairs, z / z.norm(dim=1, keepdim=True), COSINE)
    return value.detach(), torch.autograd.grad(value, z)[0]


def spectral_of_weights(problem: Problem) -> Pair:
    """The same for P_ij = w_ij / sum_k w_ik and its symmetric part, with k = exp(-d)."""
    z, weight = problem["z"].clone().requires_grad_(), problem["weight"].numpy()
    p = weight / weight.sum(1, keepdims=True)
    value = _spectral((p + p.T) / 2, z, SNE)
    return value.detach(), torch.autograd.grad(value, z)[0]


def _spectral(p: Matrix, z: Tensor, temperature: float) -> Tensor:
    kernel = _gaussian(z, temperature)
    repulsion = sum(kernel[i][torch.arange(len(z)) != i].sum().log() for i in range(len(z)))
    return torch.trace(z.T @ torch.from_numpy(laplacian(p)) @ z) / temperature + repulsion


def _gaussian(z: Tensor, temperature: float) -> Tensor:
    return torch.exp(-(z[:, None] - z).square().sum(2) / (2 * temperature))


def maximum_entropy(problem: Problem) -> Pair:
    """Tan et al. 2024, theorem 5.1: max over the simplex of sum_j a_j s_j - s_1 + tau H(a), found by scipy.

    At the maximum the gradient with respect to the scores is a - e_1 (envelope theorem).
    """
    z = problem["z"].clone().requires_grad_()
    unit = z / z.norm(dim=1, keepdim=True)
    scores = unit @ unit.T
    n = len(z)
    value, of_scores = 0.0, torch.zeros_like(scores)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        row = scores[i, others].detach().numpy()
        alpha = _most_entropic(row)
        positive = others.index((i + n // 2) % n)
        value += float(alpha @ row - row[positive] - ENTROPY * alpha @ np.log(alpha)) / n
        alpha[positive] -= 1.0
        of_scores[i, others] = torch.from_numpy(alpha) / n
    return torch.tensor(value, dtype=z.dtype), torch.autograd.grad(scores, z, of_scores)[0]


def _most_entropic(row: Matrix) -> Matrix:
    """The maximizing distribution by Newton's method in all coordinates but the last, which makes up for the rest."""

    def complete(free: Matrix) -> Matrix:
        return np.append(free, 1 - free.sum())

    def loss(free: Matrix) -> float:
        alpha = complete(free)
        return float(ENTROPY * alpha @ np.log(alpha) - alpha @ row) if (alpha > 0).all() else np.inf

    def slope(free: Matrix) -> Matrix:
        each = ENTROPY * np.log(complete(free)) - row
        return np.asarray(each[:-1] - each[-1])

    def curvature(free: Matrix) -> Matrix:
        alpha = complete(free)
        return np.asarray(ENTROPY * (np.diag(1 / alpha[:-1]) + 1 / alpha[-1]))

    start = np.full(len(row) - 1, 1 / len(row))
    found = minimize(
        loss,
        start,
        jac=slope,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-13, "initial_trust_radius": 0.1 / len(row)},
    )
    return complete(found.x)


def product_of_experts(problem: Problem) -> Pair:
    """Theory 2.6: KL to the normalized geometric mean of the two rows, minus the log of the mass of that mean."""
    z = problem["z"].clone().requires_grad_()
    unit = z / z.norm(dim=1, keepdim=True)
    n = len(z)
    losses = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        distance = torch.stack([torch.linalg.vector_norm(unit[i] - unit[j]) for j in others])
        first, second = torch.exp(-distance / LAPLACIAN), torch.exp(-(distance**2) / GAUSSIAN)
        geometric = (first / first.sum()) ** SHARE * (second / second.sum()) ** (1 - SHARE)
        mass = geometric.sum()
        positive = others.index((i + n // 2) % n)
        losses.append(-torch.log(geometric[positive] / mass) - torch.log(mass))
    value = torch.stack(losses).mean()
    return value.detach(), torch.autograd.grad(value, z)[0]


def inertia(problem: Problem) -> Pair:
    """Theory 4e: sum_ic phi_ic |x_i - mu_c|^2 around the centroids; where these are best they pass no gradient."""
    x, phi = problem["x"].numpy(), torch.softmax(problem["logits"], 1).numpy()
    centroids = phi.T @ x / phi.sum(0)[:, None]
    sq_dist = ((x[:, None] - centroids) ** 2).sum(2)
    of_phi = sq_dist - (phi * sq_dist).sum(1, keepdims=True)
    return torch.tensor((phi * sq_dist).sum()), torch.from_numpy(phi * of_phi)


ORACLES: dict[str, Oracle] = {
    "graph_cross_entropy_of_views": graph_cross_entropy_of_views,
    "graph_cross_entropy_of_weights": graph_cross_entropy_of_weights,
    "spectral_of_views": spectral_of_views,
    "spectral_of_weights": spectral_of_weights,
    "maximum_entropy": maximum_entropy,
    "product_of_experts": product_of_experts,
    "inertia": inertia,
}
