"""Neighbor embedding: SNE and t-SNE in both normalizations (theory 2.1)."""

from __future__ import annotations

import math

from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method
from torchicon.neighborhoods import Gaussian, NearestGaussian, Perplexity, StudentT, symmetrize

_PERPLEXITY = 5.0


SNE = Method(
    name="SNE",
    cell=("Gaussian", "Gaussian"),
    citation=reference("hinton2002stochastic"),
    p=lambda x: Gaussian(Perplexity(_PERPLEXITY))(x),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    p_equation="p(j|i) ∝ exp(-|x_i - x_j|² / 2σ_i²), σ_i by perplexity",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="sne",
    claim=EqualLoss(),
    example=problems.points,
)

TSNE = Method(
    name="t-SNE",
    cell=("Gaussian", "Student-t"),
    citation=reference("vandermaaten2008visualizing"),
    p=lambda x: symmetrize(NearestGaussian(_PERPLEXITY)(x)),
    q=lambda z: StudentT()(z),
    p_equation="P_ij = (p(j|i) + p(i|j)) / 2n on the 3 x perplexity nearest",
    q_equation="Q_ij ∝ 1 / (1 + |z_i - z_j|²), over all pairs",
    mapper="lookup table",
    candidates="the other points",
    weights="joint",
    oracle="tsne_joint",
    claim=EqualLoss(),
    example=problems.points,
)

TSNE_ROW = Method(
    name="t-SNE (row)",
    cell=("Gaussian", "Student-t"),
    citation=reference("vandermaaten2008visualizing"),
    p=lambda x: Gaussian(Perplexity(_PERPLEXITY))(x),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) ∝ exp(-|x_i - x_j|² / 2σ_i²), σ_i by perplexity",
    q_equation="q(j|i) ∝ 1 / (1 + |z_i - z_j|²), over each row",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="tsne_row",
    claim=EqualLoss(),
    example=problems.points,
    constants="the I-Con table's form; t-SNE as published is joint",
)

ROWS = (SNE, TSNE, TSNE_ROW)
