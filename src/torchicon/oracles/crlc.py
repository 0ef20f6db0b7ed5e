"""CRLC by loops over its printed sums, one pair at a time (Do, Tran & Venkatesh 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.spatial.distance import jensenshannon
from sklearn.metrics.pairwise import cosine_distances
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Problem, with_gradients

SHARE, ENTROPY, FEATURES, LABELED, NEIGHBORS = 0.01, 1.0, 10.0, 1.0, 3  # the examples'

Critic = Callable[[Tensor, Tensor], Tensor]


def _log_dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a, b).log()


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    return -F.mse_loss(a, b, reduction="sum")


def _jensen_shannon(a: Tensor, b: Tensor) -> Tensor:
    """Half the divergences from the middle, by torch."""
    log_middle = ((a + b) / 2).log()
    return -(F.kl_div(log_middle, a, reduction="sum") + F.kl_div(log_middle, b, reduction="sum")) / 2


def _jensen_shannon_by_scipy(a: Tensor, b: Tensor) -> Tensor:
    return torch.tensor(-(jensenshannon(a.detach().numpy(), b.detach().numpy()) ** 2))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return F.cosine_similarity(a, b, dim=0) / 0.1


def _smooth(phi: Tensor) -> Tensor:
    return phi * (1 - SHARE) + torch.full_like(phi, SHARE / phi.shape[-1])


def _other_view(n: int) -> list[list[int]]:
    return [[(i + n // 2) % n] for i in range(n)]


def _contrast(critic: Critic, rows: Tensor, positives: list[list[int]]) -> Tensor:
    """Mean over anchors and positives of -log e^f(i, j) / sum_{k != i} e^f(i, k)."""
    losses = []
    for i, own in enumerate(positives):
        score = {k: critic(rows[i], rows[k]) for k in range(len(rows)) if k != i}
        total = torch.stack([value.exp() for value in score.values()]).sum()
        losses += [-(score[j].exp() / total).log() for j in own]
    return torch.stack(losses).mean()


def _entropy(logits: Tensor, views: int = 2) -> Tensor:
    """Entropy of each view's mean probability, averaged."""
    means = torch.stack([part.softmax(1).mean(0) for part in logits.chunk(views)])
    entropies: Tensor = torch.special.entr(means).sum(1)
    return entropies.mean()


def _l_pc(critic: Critic) -> Callable[[Tensor], Tensor]:
    return lambda logits: _contrast(critic, _smooth(logits.softmax(1)), _other_view(len(logits)))


def _by(critic: Critic) -> Oracle:
    return lambda problem: with_gradients(_l_pc(critic), problem, "logits")


def jensen_shannon(problem: Problem) -> tuple[Tensor, ...]:
    """The value with scipy's distance (its square is the divergence, in nats), the gradient with torch's."""
    _, gradient = _by(_jensen_shannon)(problem)
    return _l_pc(_jensen_shannon_by_scipy)(problem["logits"]), gradient


def across_views(problem: Problem) -> tuple[Tensor, ...]:
    """Eq. 7 with the log-dot critic: each anchor against all of the other view, as a classifier; both directions."""

    def loss(logits: Tensor) -> Tensor:
        one, other = _smooth(logits.softmax(1)).chunk(2)
        critic = (one @ other.T).log()
        target = torch.arange(len(one))
        return (F.cross_entropy(critic, target) + F.cross_entropy(critic.T, target)) / 2

    return with_gradients(loss, problem, "logits")


def _whole(logits: Tensor, z: Tensor) -> Tensor:
    features = _contrast(_cosine, z, _other_view(len(z)))
    return _l_pc(_log_dot)(logits) - ENTROPY * _entropy(logits) + FEATURES * features


def crlc(problem: Problem) -> tuple[Tensor, ...]:
    """L_PC - lambda_1 H(mean) + lambda_2 L_FC."""
    return with_gradients(_whole, problem, "logits", "z")


def semi_supervised(problem: Problem) -> tuple[Tensor, ...]:
    """And lambda_3 times the cross-entropy, which leaves out the label -1."""

    def loss(logits: Tensor, z: Tensor) -> Tensor:
        return _whole(logits, z) + LABELED * F.cross_entropy(logits, problem["label"], ignore_index=-1)

    return with_gradients(loss, problem, "logits", "z")


def bank(problem: Problem) -> tuple[Tensor, ...]:
    """The own row of the bank against it and the sampled ones, minus the entropy."""
    rows = _smooth(problem["bank"])

    def loss(logits: Tensor) -> Tensor:
        losses = []
        for phi, own, sampled in zip(_smooth(logits.softmax(1)), problem["index"], problem["sampled"], strict=True):
            positive = torch.dot(phi, rows[own])
            negative = sum((torch.dot(phi, rows[j]) for j in sampled), torch.tensor(0.0))
            losses.append(-torch.log(positive / (positive + negative)))
        return torch.stack(losses).mean() - ENTROPY * _entropy(logits, 1)

    return with_gradients(loss, problem, "logits")


def two_stage(problem: Problem) -> tuple[Tensor, ...]:
    """L_PC with the nearest by angle as positives, each as likely to be drawn; minus the entropy."""
    distance = torch.tensor(cosine_distances(problem["x"].numpy())).fill_diagonal_(torch.inf)
    nearest = distance.topk(NEIGHBORS, largest=False).indices.tolist()

    def loss(logits: Tensor) -> Tensor:
        return _contrast(_log_dot, _smooth(logits.softmax(1)), nearest) - ENTROPY * _entropy(logits, 1)

    return with_gradients(loss, problem, "logits")


def sub_heads(problem: Problem) -> tuple[Tensor, ...]:
    """Average over heads of L_PC minus the entropy."""

    def loss(subheads: Tensor) -> Tensor:
        return torch.stack([_l_pc(_log_dot)(logits) - ENTROPY * _entropy(logits) for logits in subheads]).mean()

    return with_gradients(loss, problem, "subheads")


ORACLES: dict[str, Oracle] = {
    "crlc_log_dot": _by(_log_dot),
    "crlc_dot": _by(torch.dot),
    "crlc_squared_distance": _by(_squared_distance),
    "crlc_jensen_shannon": jensen_shannon,
    "crlc_across_views": across_views,
    "crlc": crlc,
    "crlc_semi": semi_supervised,
    "crlc_bank": bank,
    "crlc_two_stage": two_stage,
    "crlc_sub_heads": sub_heads,
}
