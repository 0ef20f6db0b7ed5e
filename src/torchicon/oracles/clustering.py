"""Clustering by centroids, cuts, entropies and softmax, in numpy, scikit-learn, scipy and torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import rel_entr
from scipy.stats import t as student
from sklearn.decomposition import _nmf
from sklearn.neighbors import NearestNeighbors, kneighbors_graph
from torch import Tensor

from torchicon.oracles.registry import Oracle, Pair, Problem

BANDWIDTH, NEIGHBORS = 1.5, 3  # the examples'


def _answer(problem: Problem, loss: Callable[[Tensor], Tensor]) -> Pair:
    """Value and gradient of a loss of the cluster probabilities."""
    logits = problem["logits"].clone().requires_grad_()
    value = loss(logits.softmax(1))
    return value.detach(), torch.autograd.grad(value, logits)[0]


def kmeans(problem: Problem) -> Pair:
    """Theory 4e: probabilistic inertia around centroids / sigma² - entropies of the cluster rows + log normalizers."""
    x = problem["x"]

    def loss(phi: Tensor) -> Tensor:
        size = phi.sum(0)
        centroids = (phi.T @ x) / size[:, None]
        inertia = torch.zeros((), dtype=torch.float64)
        for i in range(len(x)):
            for c in range(len(size)):
                inertia = inertia + phi[i, c] * ((x[i] - centroids[c]) ** 2).sum()
        log_z = torch.stack([torch.logsumexp(-((x[i] - x) ** 2).sum(1) / (2 * BANDWIDTH**2), 0) for i in range(len(x))])
        return inertia / BANDWIDTH**2 - _entropies(phi) + log_z.sum()

    return _answer(problem, loss)


def t_kmeans(problem: Problem) -> Pair:
    """Sum of KL(q || p) by scipy, p from scipy's density of one dimension at the distances; its gradient by q log q/p.

    d/dq sum q (log q - log p) = log q - log p + 1, and sum_j q_ij = 1 whatever phi is.
    """
    x, logits = problem["x"].numpy(), problem["logits"]
    p = student(df=1, scale=BANDWIDTH).pdf(np.linalg.norm(x[:, None] - x[None], axis=-1))
    p /= p.sum(1, keepdims=True)
    phi = logits.softmax(1).numpy()
    size = phi.sum(0)
    q = phi @ np.diag(1 / size) @ phi.T
    pull = np.log(q) - np.log(p)
    pull = pull + pull.T
    of_phi = (pull @ phi) / size - np.einsum("ic,ij,jc->c", phi, pull, phi) / (2 * size**2)
    of_logits = phi * (of_phi - (phi * of_phi).sum(1, keepdims=True))
    return torch.tensor(rel_entr(q, p).sum()), torch.tensor(of_logits)


def normalized_cut(problem: Problem) -> Pair:
    """Shi & Malik 2000, eq. 2 for soft clusters: what leaves each one / its volume."""
    weight = problem["weight"]
    return _answer(problem, lambda phi: _cut(weight, phi))


def _cut(weight: Tensor, phi: Tensor) -> Tensor:
    volumes = phi.T @ weight.sum(1)
    leaving = [(inside[:, None] * weight * (1 - inside)).sum() for inside in phi.T]
    return (torch.stack(leaving) / volumes).sum()


def normalized_cuts(problem: Problem) -> Pair:
    """The cut - m + log Z - H(q), cluster by cluster (theory 4d)."""
    weight = problem["weight"]
    degree = weight.sum(1)
    log_z = sum((weight[i] / degree).exp().sum().log() for i in range(len(weight)))

    def loss(phi: Tensor) -> Tensor:
        q = torch.zeros_like(weight)
        for inside in phi.T:
            q = q + torch.outer(inside, inside * degree) / (inside * degree).sum()
        entropies: Tensor = torch.special.entr(q).sum()
        return _cut(weight, phi) - phi.shape[1] + log_z - entropies

    return _answer(problem, loss)


def dcd(problem: Problem) -> Pair:
    """Yang & Oja 2012 without the prior: generalized KL(A || q), its value by scikit-learn's matrix factorization."""
    a = kneighbors_graph(problem["x"].numpy(), NEIGHBORS, include_self=False).toarray()
    similarity = torch.tensor((a + a.T) / 2)

    def loss(phi: Tensor) -> Tensor:
        q = torch.zeros_like(similarity)
        for of_cluster in phi.T:
            q = q + torch.outer(of_cluster, of_cluster) / of_cluster.sum()
        return (torch.xlogy(similarity, similarity) - torch.xlogy(similarity, q) - similarity + q).sum()

    phi = problem["logits"].softmax(1).numpy()
    value = _nmf._beta_divergence(similarity.numpy(), phi / phi.sum(0), np.ascontiguousarray(phi.T), 1.0)
    return torch.tensor(value), _answer(problem, loss)[1]


def infonce_by_cluster(problem: Problem) -> Pair:
    """Minus the mean log of sum_c phi_ic phi_jc / n_c over the k nearest j, minus log k (I-Con)."""
    return _answer(problem, lambda phi: _log_loss(phi, phi, _neighbors(problem["x"])) - math.log(NEIGHBORS))


def infonce_by_point(problem: Problem) -> Pair:
    """Softmax over candidates of the log-dot critic log phi_i . phi_j (Do et al. 2021), k nearest as positives."""

    def loss(phi: Tensor) -> Tensor:
        critic = (phi @ phi.T).log()
        target = torch.zeros_like(critic).scatter(1, _neighbors(problem["x"]), 1 / NEIGHBORS)
        return torch.nn.functional.cross_entropy(critic, target) - math.log(NEIGHBORS)

    return _answer(problem, loss)


def infonce_of_pairs(problem: Problem) -> Pair:
    """The same with the other view of the image as the one positive."""
    b = len(problem["logits"]) // 2
    other = torch.cat([torch.arange(b, 2 * b), torch.arange(b)])[:, None]
    return _answer(problem, lambda phi: _log_loss(phi, phi, other))


def temi(problem: Problem) -> Pair:
    """Adaloglou et al. 2023, beta = 1: mean -log sum_c s_c t_c / pk_c of student s, teacher t and its mean pk."""
    teacher = problem["teacher"].softmax(1)
    index = _neighbors(problem["x"])

    def loss(phi: Tensor) -> Tensor:
        of_slot = [-(phi * teacher[index[:, slot]] / teacher.mean(0)).sum(1).log() for slot in range(NEIGHBORS)]
        return torch.stack(of_slot).mean()

    return _answer(problem, loss)


def cross_modal_clustering(problem: Problem) -> tuple[Tensor, ...]:
    """Cross-entropy of picking a cluster, then a text of it: the own one; one image at a time."""
    learned = [problem[name].clone().requires_grad_() for name in ("logits", "text_logits")]
    phi, psi = (logits.softmax(1) for logits in learned)
    text_of_cluster = psi / psi.sum(0)  # (n, c), columns are distributions
    losses = [-torch.dot(phi[i], text_of_cluster[i]).log() for i in range(len(phi))]
    value = torch.stack(losses).mean()
    return value.detach(), *torch.autograd.grad(value, learned)


def supervised_clustering(problem: Problem) -> Pair:
    """Mean over anchors of -sum_j log(n_y q_ij) / n_y over the anchor's whole class."""
    label = problem["label"].tolist()

    def loss(phi: Tensor) -> Tensor:
        size = phi.sum(0)
        losses = []
        for i in range(len(phi)):
            members = [j for j in range(len(phi)) if label[j] == label[i]]
            q = torch.stack([(phi[i] * phi[j] / size).sum() for j in members])
            losses.append(-(len(members) * q).log().mean())
        return torch.stack(losses).mean()

    return _answer(problem, loss)


def _entropies(phi: Tensor) -> Tensor:
    """Sum over anchors of the entropy of their by-cluster row."""
    entropies: Tensor = torch.special.entr(torch.einsum("ic,jc,c->ij", phi, phi, 1 / phi.sum(0)))
    return entropies.sum()


def _log_loss(phi: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """Mean over anchors and their listed neighbors of -log sum_c phi_ic keys_jc / n_c, pair by pair."""
    size = keys.sum(0)
    pairs = [(i, j) for i in range(len(phi)) for j in index[i].tolist()]
    return torch.stack([-((phi[i] * keys[j]) / size).sum().log() for i, j in pairs]).mean()


def _neighbors(x: Tensor) -> Tensor:
    return torch.from_numpy(NearestNeighbors(n_neighbors=NEIGHBORS).fit(x.numpy()).kneighbors(return_distance=False))


ORACLES: dict[str, Oracle] = {
    "kmeans": kmeans,
    "t_kmeans": t_kmeans,
    "normalized_cut": normalized_cut,
    "normalized_cuts": normalized_cuts,
    "dcd": dcd,
    "infonce_by_cluster": infonce_by_cluster,
    "infonce_by_point": infonce_by_point,
    "infonce_of_pairs": infonce_of_pairs,
    "temi": temi,
    "cross_modal_clustering": cross_modal_clustering,
    "supervised_clustering": supervised_clustering,
}
