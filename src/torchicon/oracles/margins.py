"""VI-Reg, average margins, triplets and the perceptron by the losses of torch and scikit-learn and explicit weights."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import hinge_loss
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn import functional as F

from torchicon.oracles.affinities import Matrix
from torchicon.oracles.registry import Oracle, Pair, Problem

MARGIN = 0.2  # the example's, of squared distances


def invariance_less_variance(problem: Problem) -> Pair:
    """The first two parts of Bardes et al. 2022: squared error between the views, and the sample variance.

    4B/(2B - 1) times the scatter around the mean is 4B times the sum of the unbiased variances.
    """
    z = problem["z"].clone().requires_grad_()
    half = len(z) // 2
    value = 2 * F.mse_loss(z[:half], z[half:], reduction="sum") - 4 * half * torch.var(z, dim=0).sum()
    return value.detach(), torch.autograd.grad(value, z)[0]


def batch_hard_triplet(problem: Problem) -> Pair:
    """Hermans et al. 2017, eq. 5, by torch's ranking loss, since its triplet losses refuse the margin 0.

    The hardest negative is a minimum, whose gradient equal ones share.
    """
    z = problem["z"].clone().requires_grad_()
    image = problem["image"].tolist()
    positive, hardest = [], []
    for i in range(len(z)):
        sq_dist = [((z[i] - z[j]) ** 2).sum() for j in range(len(z))]
        positive += [sq_dist[j] for j in range(len(z)) if j != i and image[j] == image[i]]
        hardest.append(torch.stack([sq_dist[j] for j in range(len(z)) if image[j] != image[i]]).amin())
    target = torch.ones(len(z), dtype=z.dtype)
    value = F.margin_ranking_loss(torch.stack(hardest), torch.stack(positive), target, margin=0.0)
    return value.detach(), torch.autograd.grad(value, z)[0]


def facenet(problem: Problem) -> Pair:
    """Schroff et al. 2015, eq. 2, by torch's triplet loss with squared distances; averaged over equal negatives."""
    z = problem["z"].clone().requires_grad_()
    unit, image = F.normalize(z), problem["image"].tolist()

    def sq_dist(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().sum(-1)

    losses = []
    for i in range(len(z)):
        positive = next(j for j in range(len(z)) if j != i and image[j] == image[i])
        negatives = [j for j in range(len(z)) if image[j] != image[i]]
        cosines = cosine_similarity(problem["z"][i : i + 1].numpy(), problem["z"][negatives].numpy())[0]
        hardest = [negatives[k] for k in np.flatnonzero(cosines == cosines.max())]
        anchors, positives = (unit[[row] * len(hardest)] for row in (i, positive))
        losses.append(
            F.triplet_margin_with_distance_loss(
                anchors, positives, unit[hardest], distance_function=sq_dist, margin=MARGIN
            )
        )
    value = torch.stack(losses).mean()
    return value.detach(), torch.autograd.grad(value, z)[0]


def average_margin_clip(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Every pair of another image and text weighs as much in both directions: 1/n - 1[i = j]."""
    n = len(problem["z"])
    return _weighted_cosines(problem["z"], problem["text"], (1 / n - np.eye(n)) / n)


def triplet_clip(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Hardest text of each image and hardest image of each text, less the pair; equal ones share."""
    z, text = problem["z"], problem["text"]
    cosines = cosine_similarity(z.numpy(), text.numpy())
    weight = (_shares(cosines) + _shares(cosines.T).T) / 2 - np.eye(len(z))
    return _weighted_cosines(z, text, weight / len(z))


def average_margin_supcon(problem: Problem) -> Pair:
    """Mean over the others less mean over the positives, of each anchor that has some."""
    others = 1.0 - np.eye(len(problem["z"]))
    return _against_positives(problem, others / others.sum(1, keepdims=True))


def triplet_supcon(problem: Problem) -> Pair:
    """The nearest of all others, positives among them, less the mean over the positives; equal ones share."""
    cosines = cosine_similarity(problem["z"].numpy())
    np.fill_diagonal(cosines, -np.inf)
    return _against_positives(problem, _shares(cosines))


def _against_positives(problem: Problem, repulsion: Matrix) -> Pair:
    label = problem["label"].numpy()
    weight = np.zeros_like(repulsion)
    for i in range(len(label)):
        positives = [j for j in range(len(label)) if j != i and label[j] == label[i]]
        if positives:
            weight[i] = repulsion[i]
            weight[i, positives] -= 1 / len(positives)
    weight /= np.count_nonzero(weight.any(1))
    value, of_anchors, of_others = _weighted_cosines(problem["z"], problem["z"], weight)
    return value, of_anchors + of_others


def _shares(scores: Matrix) -> Matrix:
    """Each row's largest entries, of weight 1 together."""
    largest = scores == scores.max(1, keepdims=True)
    return np.asarray(largest / largest.sum(1, keepdims=True))


def _weighted_cosines(a: torch.Tensor, b: torch.Tensor, weight: Matrix) -> tuple[torch.Tensor, ...]:
    """Sum of w_ij cos(a_i, b_j) and its gradients, by d cos(a, b) / da = (b/|b| - cos(a, b) a/|a|) / |a|."""
    length_a, length_b = (np.linalg.norm(side.numpy(), axis=1, keepdims=True) for side in (a, b))
    unit_a, unit_b = a.numpy() / length_a, b.numpy() / length_b
    weighted = weight * cosine_similarity(a.numpy(), b.numpy())
    of_a = (weight @ unit_b - weighted.sum(1, keepdims=True) * unit_a) / length_a
    of_b = (weight.T @ unit_a - weighted.sum(0)[:, None] * unit_b) / length_b
    return torch.tensor(weighted.sum()), torch.tensor(of_a), torch.tensor(of_b)


def perceptron(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Rosenblatt's rule for several classes: what was said is pushed away, what is true is pulled (theory 3.3).

    The value is scikit-learn's hinge loss of Crammer & Singer with its margin of 1 given to the true class.
    """
    z, prototypes, label = (problem[name].numpy() for name in ("z", "prototypes", "label"))
    scores, true = z @ prototypes.T, np.eye(len(prototypes))[label]
    value = hinge_loss(label, scores + true, labels=np.arange(len(prototypes)))
    update = (_shares(scores) - true) / len(z)
    return torch.tensor(value, dtype=torch.float64), torch.tensor(update @ prototypes), torch.tensor(update.T @ z)


ORACLES: dict[str, Oracle] = {
    "invariance_less_variance": invariance_less_variance,
    "batch_hard_triplet": batch_hard_triplet,
    "facenet": facenet,
    "average_margin_clip": average_margin_clip,
    "average_margin_supcon": average_margin_supcon,
    "triplet_clip": triplet_clip,
    "triplet_supcon": triplet_supcon,
    "perceptron": perceptron,
}
