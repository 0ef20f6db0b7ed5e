"""Neighbor embedding: SNE, t-SNE in both normalizations, PCA (theory 2.1)."""

from __future__ import annotations

import math

import torch

from torchicon.core import Candidates
from torchicon.methods.citations import HINTON, MAATEN, PEARSON
from torchicon.methods.claims import EqualLoss, Limit, Problem
from torchicon.methods.method import Method
from torchicon.neighborhoods import Gaussian, NearestGaussian, Pairs, Perplexity, StudentT, symmetrize

_PERPLEXITY = 5.0


def _points(generator: torch.Generator) -> Problem:
    x = torch.randn(24, 4, dtype=torch.float64, generator=generator)
    return {"x": x, "z": torch.randn(24, 2, dtype=torch.float64, generator=generator)}


def _projected(generator: torch.Generator) -> Problem:
    z = torch.randn(24, 2, dtype=torch.float64, generator=generator)
    return {"z": z, "sigma": torch.tensor(1.0, dtype=torch.float64)}


SNE = Method(
    name="SNE",
    cell=("Gaussian", "Gaussian"),
    citation=HINTON,
    p=lambda x: Gaussian(Perplexity(_PERPLEXITY))(x),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    p_equation="p(j|i) ∝ exp(-|x_i - x_j|² / 2σ_i²), σ_i by perplexity",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="sne",
    claim=EqualLoss(),
    example=_points,
)

TSNE = Method(
    name="t-SNE",
    cell=("Gaussian", "Student-t"),
    citation=MAATEN,
    p=lambda x: symmetrize(NearestGaussian(_PERPLEXITY)(x)),
    q=lambda z: StudentT()(z),
    p_equation="P_ij = (p(j|i) + p(i|j)) / 2n on the 3 x perplexity nearest",
    q_equation="Q_ij ∝ 1 / (1 + |z_i - z_j|²), over all pairs",
    mapper="lookup table",
    candidates="the other points",
    weights="joint",
    oracle="tsne_joint",
    claim=EqualLoss(),
    example=_points,
)

TSNE_ROW = Method(
    name="t-SNE (row)",
    cell=("Gaussian", "Student-t"),
    citation=MAATEN,
    p=lambda x: Gaussian(Perplexity(_PERPLEXITY))(x),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) ∝ exp(-|x_i - x_j|² / 2σ_i²), σ_i by perplexity",
    q_equation="q(j|i) ∝ 1 / (1 + |z_i - z_j|²), over each row",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="tsne_row",
    claim=EqualLoss(),
    example=_points,
    constants="the I-Con table's form; t-SNE as published is joint",
)

PCA = Method(
    name="PCA",
    cell=("Identity", "Gaussian, wide"),
    citation=PEARSON,
    p=lambda z: Pairs()(len(z)),
    q=lambda z, sigma: Gaussian(sigma)(z, candidates=Candidates.all(len(z))),
    p_equation="p(j|i) = 1[i = j]",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / 2σ²), σ → ∞",
    mapper="linear, orthonormal (else unbounded)",
    candidates="all points, self included",
    weights="sum",
    oracle="total_variance",
    # sigma² = 1 / 2h; sigma² (sum KL - N log N) -> -sum |z - mean|² (theory 3.1)
    claim=Limit(
        knob="sigma",
        knob_of=lambda h: math.sqrt(1 / (2 * h)),
        rescale=lambda loss, h, at: (loss - len(at["z"]) * math.log(len(at["z"]))) / (2 * h),
        order=1.0,
    ),
    example=_projected,
    constants="σ² (ΣKL - n log n) → -Σ|z_i - mean|²",
)

ROWS = (SNE, TSNE, TSNE_ROW, PCA)
