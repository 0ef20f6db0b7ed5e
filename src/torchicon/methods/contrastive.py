"""Contrastive learning: SimCLR, SupCon (theory 2.2)."""

from __future__ import annotations

import torch

from torchicon.methods.citations import CHEN, KHOSLA
from torchicon.methods.claims import EqualLoss, EqualUpTo, Problem
from torchicon.methods.method import Method
from torchicon.neighborhoods import Cosine, Positives


def _views(generator: torch.Generator) -> Problem:
    z = torch.randn(16, 5, dtype=torch.float64, generator=generator)
    return {"z": z, "image": torch.arange(8).repeat(2)}


def _classes(generator: torch.Generator) -> Problem:
    z = torch.randn(16, 5, dtype=torch.float64, generator=generator)
    lone = torch.tensor([3])  # an anchor without positives is left out of the mean
    return {"z": z, "label": torch.cat([torch.randint(0, 3, (15,), generator=generator), lone])}


def _mean_log_positives(problem: Problem) -> float:
    label = problem["label"]
    positives = (label[:, None] == label).sum(1) - 1
    return float(positives[positives > 0].double().log().mean())


SIMCLR = Method(
    name="SimCLR",
    cell=("Positive pairs", "Gaussian"),
    citation=CHEN,
    p=lambda image: Positives()(image),
    q=lambda z: Cosine(0.1)(z),
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other 2B - 1 views of the batch",
    oracle="nt_xent",
    claim=EqualLoss(),
    example=_views,
)

SUPCON = Method(
    name="SupCon",
    cell=("Classes", "Gaussian"),
    citation=KHOSLA,
    p=lambda label: Positives()(label),
    q=lambda z: Cosine(0.1)(z),
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] / |P(i)|",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    oracle="supcon_out",
    claim=EqualUpTo(1.0, _mean_log_positives),
    example=_classes,
    constants="L_out = KL + mean log |P(i)|",
)

ROWS = (SIMCLR, SUPCON)
