"""SimCLR and SupCon by torch's own cross-entropy and by loops over the printed sums."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from torchicon.oracles.registry import Oracle, Pair, Problem

TEMPERATURE = 0.1  # the examples'


def nt_xent(problem: Problem) -> Pair:
    """Chen et al. 2020, eq. 1: cross-entropy over the batch with the diagonal out, the other view as its class."""
    z = problem["z"].clone().requires_grad_()
    similarity = F.cosine_similarity(z[:, None], z[None], dim=-1) / TEMPERATURE
    similarity = similarity - torch.diag(torch.full((len(z),), torch.inf, dtype=z.dtype))
    half = len(z) // 2
    value = F.cross_entropy(similarity, torch.cat([torch.arange(half, 2 * half), torch.arange(half)]))
    return value.detach(), torch.autograd.grad(value, z)[0]


def supcon_out(problem: Problem) -> Pair:
    """Khosla et al. 2020, eq. 2, over the anchors that have a positive, as a mean."""
    z, label = problem["z"].clone().requires_grad_(), problem["label"].tolist()
    unit = z / z.norm(dim=1, keepdim=True)
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [a for a in others if label[a] == label[i]]
        scores = {a: unit[i] @ unit[a] / TEMPERATURE for a in others}
        total = torch.stack([score.exp() for score in scores.values()]).sum().log()
        if positives:
            losses.append(sum((total - scores[a] for a in positives), torch.tensor(0.0)) / len(positives))
    value = torch.stack(losses).mean()
    return value.detach(), torch.autograd.grad(value, z)[0]


ORACLES: dict[str, Oracle] = {"nt_xent": nt_xent, "supcon_out": supcon_out}
