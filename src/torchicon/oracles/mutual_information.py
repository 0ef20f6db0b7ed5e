"""The mutual-information family by loops over printed sums, torch's cross-entropies and ratios of full softmaxes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Pair, Problem

OMEGA = 0.07  # the examples'
SIZE, HALF_OF_TRAINING = 12, 50
HARDEST, NEGATIVES = 16, 6


def ir_infonce(problem: Problem) -> Pair:
    """Wu, Xiong et al. 2018, eq. 2: cross-entropy of the softmax over the bank, the own row as the class."""
    z = problem["z"].clone().requires_grad_()
    value = F.cross_entropy(_scores(z, problem["bank"]), problem["index"])
    return value.detach(), torch.autograd.grad(value, z)[0]


def ir_nce(problem: Problem) -> Pair:
    """Wu, Xiong et al. 2018, eq. 4-7: logistic regression on P_m / (P_m + k P_n), P_m = e^s / Z, P_n = 1 / N."""
    z, index, noise = problem["z"].clone().requires_grad_(), problem["index"], problem["sampled"]
    scores, k, n_data = _scores(z, problem["bank"]), noise.shape[1], 1281167
    log_z = math.log(2876934.2 / 1281167 * n_data)
    value = torch.zeros((), dtype=z.dtype)
    for i in range(len(z)):
        drawn = torch.cat([index[i, None], noise[i]])
        target = torch.tensor([1.0] + [0.0] * k, dtype=z.dtype)
        logit = scores[i, drawn] - log_z - math.log(k / n_data)
        value = value + F.binary_cross_entropy_with_logits(logit, target, reduction="sum") / len(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


def la(problem: Problem) -> Pair:
    """Zhuang et al. 2019, eq. 2-3: -log P(C∩B | v) / P(B | v), P(A | v) the mass of A in the softmax over the bank."""

    def loss(row: Tensor, i: int) -> Tensor:
        near = _ball(problem["bank"], i, SIZE)
        close = [j for j in near if _share_cluster(problem["cluster"], i, j)]
        full = row.softmax(0)
        return -(full[close].sum() / full[near].sum()).log()

    return _mean(problem, loss)


def ratio_of_softmaxes(problem: Problem) -> Pair:
    """LA with C∩B = {i}: -log P(i | v) / P(B | v)."""

    def loss(row: Tensor, i: int) -> Tensor:
        full = row.softmax(0)
        return -(full[i] / full[_ball(problem["bank"], i, SIZE)].sum()).log()

    return _mean(problem, loss)


def ball(problem: Problem) -> Pair:
    """Wu et al. 2020: minus s_i - log sum over B of e^s."""
    return _mean(problem, lambda row, i: _in_ball(row, problem["bank"], i, SIZE))


def ball_plus(problem: Problem) -> Pair:
    """The same with the size of B at this iteration."""
    size = _size_now(problem["bank"], problem["iteration"])
    return _mean(problem, lambda row, i: _in_ball(row, problem["bank"], i, size))


def ann(problem: Problem) -> Pair:
    """Wu et al. 2020, with i among the candidates: minus s_i - log sum over {i} and B without C of e^s."""
    return _mean(problem, lambda row, i: _in_annulus(row, problem["bank"], problem["cluster"], i, SIZE))


def ann_plus(problem: Problem) -> Pair:
    """The same with the size of B at this iteration."""
    size = _size_now(problem["bank"], problem["iteration"])
    return _mean(problem, lambda row, i: _in_annulus(row, problem["bank"], problem["cluster"], i, size))


def vince(problem: Problem) -> Pair:
    """Wu et al. 2020, eq. 9 as a bound: mean of s_i - log (1/K) sum of e^s over i and K - 1 draws from s >= tau.

    tau leaves the hardest rows, those with the highest scores; of each anchor's, in order, the draws are those with the
    smallest of a sequence of uniform numbers.
    """
    bank, index = problem["bank"], problem["index"].tolist()
    z = problem["z"].clone().requires_grad_()
    scores = _scores(z, bank)
    given = scores.tolist()
    generator = torch.Generator().manual_seed(int(problem["seed"]))
    gains = []
    for i, own in enumerate(index):
        others = [j for j in range(len(bank)) if j != own]
        tau = sorted((given[i][j] for j in others), reverse=True)[HARDEST - 2]  # with the own row, so many
        hard = [j for j in range(len(bank)) if j == own or given[i][j] >= tau]
        numbers = dict(zip(hard, torch.rand(len(hard), generator=generator, dtype=torch.float64).tolist(), strict=True))
        drawn = sorted((j for j in hard if j != own), key=numbers.__getitem__)[:NEGATIVES]
        gains.append(scores[i, own] - scores[i, [own, *drawn]].exp().mean().log())
    value = torch.stack(gains).mean()
    return value.detach(), torch.autograd.grad(value, z)[0]


def _two_ways(one_way: Callable[[Problem], Pair]) -> Oracle:
    """Tian et al. 2020, eq. 5: the sum of both modalities' losses, each in the bank (and clusters) of the other one."""

    def both(problem: Problem) -> tuple[Tensor, ...]:
        there, by_z = one_way({**problem, "bank": problem["text_bank"], "cluster": problem["text_cluster"]})
        back, by_text = one_way({**problem, "z": problem["text"]})
        return there + back, by_z, by_text

    return both


def _scores(z: Tensor, bank: Tensor) -> Tensor:
    return F.cosine_similarity(z[:, None], bank[None], dim=-1) / OMEGA


def _mean(problem: Problem, loss: Callable[[Tensor, int], Tensor]) -> Pair:
    """Mean over anchors of a loss of (scores over the bank, own row)."""
    z = problem["z"].clone().requires_grad_()
    scores = _scores(z, problem["bank"])
    value = torch.stack([loss(scores[a], i) for a, i in enumerate(problem["index"].tolist())]).mean()
    return value.detach(), torch.autograd.grad(value, z)[0]


def _ball(bank: Tensor, i: int, size: int) -> list[int]:
    """Rows by distance to row i, which is the nearest."""
    by_distance = sorted(range(len(bank)), key=lambda j: float((bank[i] - bank[j]).norm()))
    return by_distance[:size]


def _share_cluster(cluster: Tensor, i: int, j: int) -> bool:
    return any(run[i] == run[j] for run in cluster.tolist())


def _in_ball(row: Tensor, bank: Tensor, i: int, size: int) -> Tensor:
    return torch.logsumexp(row[_ball(bank, i, size)], 0) - row[i]


def _in_annulus(row: Tensor, bank: Tensor, cluster: Tensor, i: int, size: int) -> Tensor:
    ring = [j for j in _ball(bank, i, size) if not _share_cluster(cluster, i, j)]
    return torch.logsumexp(row[[i, *ring]], 0) - row[i]


def _size_now(bank: Tensor, iteration: Tensor) -> int:
    """On the line from (0, all) to (half of training, SIZE), then SIZE."""
    left = max(0.0, 1 - int(iteration) / HALF_OF_TRAINING)
    return round(SIZE + left * (len(bank) - SIZE))


ORACLES: dict[str, Oracle] = {
    "ir_infonce": ir_infonce,
    "ir_nce": ir_nce,
    "la": la,
    "ratio_of_softmaxes": ratio_of_softmaxes,
    "ball": ball,
    "ball_plus": ball_plus,
    "ann": ann,
    "ann_plus": ann_plus,
    "vince": vince,
    "cmc_bank": _two_ways(ir_infonce),
    "cmc_ball": _two_ways(ball),
    "cmc_ball_plus": _two_ways(ball_plus),
    "cmc_ann": _two_ways(ann),
    "cmc_ann_plus": _two_ways(ann_plus),
}
