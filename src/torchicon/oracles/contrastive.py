"""Contrastive losses by torch's own cross-entropy, by loops over the printed sums, and after the authors' code."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Pair, Problem

TEMPERATURE = 0.1  # the examples'


def _with_gradient(value_of: Callable[[Tensor], Tensor], problem: Problem) -> Pair:
    z = problem["z"].clone().requires_grad_()
    value = value_of(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


def _cosines(z: Tensor) -> Tensor:
    return F.cosine_similarity(z[:, None], z[None], dim=-1) / TEMPERATURE


def _without_self(similarity: Tensor) -> Tensor:
    return similarity - torch.diag(torch.full((len(similarity),), torch.inf, dtype=similarity.dtype))


def _partner(n: int) -> Tensor:
    return torch.arange(n).roll(n // 2)


def nt_xent(problem: Problem) -> Pair:
    """Chen et al. 2020, eq. 1: cross-entropy over the batch with the diagonal out, the other view as its class."""
    return _with_gradient(lambda z: F.cross_entropy(_without_self(_cosines(z)), _partner(len(z))), problem)


def infonce(problem: Problem) -> Pair:
    """The mean over an anchor's positives of the cross-entropies with one of them as the class; three views."""

    def value(z: Tensor) -> Tensor:
        third, logits = len(z) // 3, _without_self(_cosines(z))
        return torch.stack([F.cross_entropy(logits, torch.arange(len(z)).roll(k * third)) for k in (1, 2)]).mean()

    return _with_gradient(value, problem)


def moco(problem: Problem) -> Pair:
    """He et al. 2020, Algorithm 1: the cross-entropy of the positive logit, in front of those of the queue."""
    key = F.normalize(problem["teacher"].chunk(2)[1], dim=1)
    queue = F.normalize(problem["queue"], dim=1)

    def value(z: Tensor) -> Tensor:
        query = F.normalize(z.chunk(2)[0], dim=1)
        positive = torch.einsum("nc,nc->n", query, key)[:, None]
        negative = torch.einsum("nc,kc->nk", query, queue)
        return F.cross_entropy(torch.cat([positive, negative], 1) / 0.07, torch.zeros(len(query), dtype=torch.long))

    return _with_gradient(value, problem)


def moco_v3(problem: Problem) -> Pair:
    """Chen et al. 2021, Algorithm 1: ctr(q1, k2) + ctr(q2, k1), each a cross-entropy times 2 tau."""
    tau = 0.2

    def ctr(query: Tensor, key: Tensor) -> Tensor:
        logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).t()
        return 2 * tau * F.cross_entropy(logits / tau, torch.arange(len(query)))

    def value(z: Tensor) -> Tensor:
        half = len(z) // 2
        key = problem["teacher"]
        return ctr(z[:half], key[half:]) + ctr(z[half:], key[:half])

    return _with_gradient(value, problem)


def debiased_contrastive(problem: Problem) -> Pair:
    """Chuang et al. 2020: -log e^s / (e^s + N g), as printed, one anchor and one negative at a time."""
    t, share, image = 0.5, 0.2, problem["image"].tolist()
    least = torch.tensor(math.exp(-1 / t), dtype=torch.float64)

    def value(z: Tensor) -> Tensor:
        unit, losses = z / z.norm(dim=1, keepdim=True), []
        for i in range(len(z)):
            weight = [torch.exp(unit[i] @ unit[j] / t) for j in range(len(z))]
            [positive] = [weight[j] for j in range(len(z)) if j != i and image[j] == image[i]]
            negatives = [weight[j] for j in range(len(z)) if image[j] != image[i]]
            estimate = (sum(negatives) / len(negatives) - share * positive) / (1 - share)
            losses.append(-torch.log(positive / (positive + len(negatives) * max(estimate, least))))
        return torch.stack(losses).mean()

    return _with_gradient(value, problem)


def language_guided(problem: Problem) -> Pair:
    """El Banani et al. 2023: SimCLR's loss, with the positive found by scikit-learn among the captions."""
    search = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(problem["caption"].numpy())
    positive = torch.from_numpy(search.kneighbors(return_distance=False)[:, 0])
    return _with_gradient(lambda z: F.cross_entropy(_without_self(_cosines(z)), positive), problem)


def _student_weights(z: Tensor, df: float, tau: float) -> Tensor:
    """Weights of all pairs, 0 at self."""
    sq_dist = (z[:, None] - z).pow(2).sum(-1)
    return (1 + sq_dist / (tau * df)) ** (-(df + 1) / 2) * (1 - torch.eye(len(z), dtype=z.dtype))


def t_simclr(problem: Problem) -> Pair:
    """Hu et al. 2023 as in their code: minus the mean log-weight of positives, plus the log of the sum of all."""

    def value(z: Tensor) -> Tensor:
        weight = _student_weights(z, 5.0, 0.5)
        return -weight[torch.arange(len(z)), _partner(len(z))].log().mean() + weight.sum().log()

    return _with_gradient(value, problem)


def t_simclr_row(problem: Problem) -> Pair:
    """The same weights with a sum for each anchor."""

    def value(z: Tensor) -> Tensor:
        weight = _student_weights(z, 5.0, 0.5)
        return -(weight[torch.arange(len(z)), _partner(len(z))] / weight.sum(1)).log().mean()

    return _with_gradient(value, problem)


def t_simcne(problem: Problem) -> Pair:
    """Boehm et al. 2023, after their InfoNCECauchy: blocks of views, alignment minus half of both uniformities."""

    def value(z: Tensor) -> Tensor:
        a, b = z.chunk(2)
        other = 1 - torch.eye(len(a), dtype=z.dtype)

        def cauchy(x: Tensor, y: Tensor) -> Tensor:
            return 1 / (1 + (x[:, None] - y[None]).square().sum(2))

        aa, bb, ab = cauchy(a, a) * other, cauchy(b, b) * other, cauchy(a, b)
        first, second = torch.hstack((aa, ab)).sum(1).log().mean(), torch.hstack((ab.T, bb)).sum(1).log().mean()
        return -(ab.diagonal().log().mean() - (first + second) / 2)

    return _with_gradient(value, problem)


def _over_positives(problem: Problem, loss: Callable[[dict[int, Tensor], list[int]], Tensor]) -> Pair:
    """Mean over the anchors that have positives of a loss of (scores of all others, positives)."""
    label = problem["label"].tolist()

    def value(z: Tensor) -> Tensor:
        unit, losses = z / z.norm(dim=1, keepdim=True), []
        for i in range(len(z)):
            scores = {a: unit[i] @ unit[a] / TEMPERATURE for a in range(len(z)) if a != i}
            positives = [a for a in scores if label[a] == label[i]]
            if positives:
                losses.append(loss(scores, positives))
        return torch.stack(losses).mean()

    return _with_gradient(value, problem)


def supcon_out(problem: Problem) -> Pair:
    """Khosla et al. 2020, eq. 2: the mean over positives outside of the logarithm."""

    def loss(scores: dict[int, Tensor], positives: list[int]) -> Tensor:
        total = torch.stack([score.exp() for score in scores.values()]).sum()
        return -torch.stack([(scores[p].exp() / total).log() for p in positives]).mean()

    return _over_positives(problem, loss)


def supcon_in(problem: Problem) -> Pair:
    """Khosla et al. 2020, eq. 3: the mean over positives inside of the logarithm."""

    def loss(scores: dict[int, Tensor], positives: list[int]) -> Tensor:
        total = torch.stack([score.exp() for score in scores.values()]).sum()
        return -torch.stack([scores[p].exp() / total for p in positives]).mean().log()

    return _over_positives(problem, loss)


def t_supcon(problem: Problem) -> Pair:
    """Cross-entropy of Student-t logits with each positive in turn as the class, averaged within anchors."""
    label = problem["label"]

    def value(z: Tensor) -> Tensor:
        logits = _without_self(-(1 + torch.cdist(z, z).square()).log())
        same = (label[:, None] == label) & ~torch.eye(len(z), dtype=torch.bool)
        losses = [
            torch.stack([F.cross_entropy(logits[i], p) for p in same[i].nonzero()[:, 0]]).mean()
            for i in range(len(z))
            if same[i].any()
        ]
        return torch.stack(losses).mean()

    return _with_gradient(value, problem)


ORACLES: dict[str, Oracle] = {
    "debiased_contrastive": debiased_contrastive,
    "infonce": infonce,
    "language_guided": language_guided,
    "moco": moco,
    "moco_v3": moco_v3,
    "nt_xent": nt_xent,
    "supcon_in": supcon_in,
    "supcon_out": supcon_out,
    "t_simclr": t_simclr,
    "t_simclr_row": t_simclr_row,
    "t_simcne": t_simcne,
    "t_supcon": t_supcon,
}
