"""Contrastive learning: SimCLR, SupCon (theory 2.2)."""

from __future__ import annotations

from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss, EqualUpTo
from torchicon.methods.method import Method
from torchicon.methods.problems import Problem
from torchicon.neighborhoods import Cosine, Positives


def _mean_log_positives(problem: Problem) -> float:
    label = problem["label"]
    positives = (label[:, None] == label).sum(1) - 1
    return float(positives[positives > 0].double().log().mean())


SIMCLR = Method(
    name="SimCLR",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("chen2020simple"),
    p=lambda image: Positives()(image),
    q=lambda z: Cosine(0.1)(z),
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other 2B - 1 views of the batch",
    oracle="nt_xent",
    claim=EqualLoss(),
    example=problems.views,
)

SUPCON = Method(
    name="SupCon",
    cell=("Classes", "Gaussian"),
    citation=reference("khosla2020supervised"),
    p=lambda label: Positives()(label),
    q=lambda z: Cosine(0.1)(z),
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] / |P(i)|",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    oracle="supcon_out",
    claim=EqualUpTo(1.0, _mean_log_positives),
    example=problems.classes,
    constants="L_out = KL + mean log |P(i)|",
)

ROWS = (SIMCLR, SUPCON)
