"""Neighbor embedding: SNE and t-SNE, in both normalizations and on other neighborhoods (theory 2.1)."""

from __future__ import annotations

import math

from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method
from torchicon.neighborhoods import KNN, Gaussian, Graph, NearestGaussian, Perplexity, StudentT, symmetrize

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

TSNE_DF = Method(
    name="t-SNE (df)",
    cell=("Gaussian", "Student-t"),
    citation=reference("vandermaaten2009learning"),
    p=lambda x: symmetrize(NearestGaussian(_PERPLEXITY)(x)),
    q=lambda z: StudentT(3.0)(z),
    p_equation="P_ij = (p(j|i) + p(i|j)) / 2n on the 3 x perplexity nearest",
    q_equation="Q_ij ∝ (1 + |z_i - z_j|² / ν)^(-(ν + 1) / 2), over all pairs; here ν = 3",
    mapper="lookup table or network",
    candidates="the other points",
    weights="joint",
    oracle="tsne_df",
    claim=EqualLoss(),
    example=problems.points,
)

DUAL_TSNE = Method(
    name="Dual t-SNE",
    cell=("Student-t", "Gaussian"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda x: StudentT()(x),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    p_equation="p(j|i) ∝ 1 / (1 + |x_i - x_j|²)",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="dual_tsne",
    claim=EqualLoss(),
    example=problems.points,
)

DOUBLY_TSNE = Method(
    name="Doubly t-SNE",
    cell=("Student-t", "Student-t"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda x: StudentT()(x),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) ∝ 1 / (1 + |x_i - x_j|²)",
    q_equation="q(j|i) ∝ 1 / (1 + |z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="doubly_tsne",
    claim=EqualLoss(),
    example=problems.points,
)

SNE_GRAPH = Method(
    name="SNE graph embedding",
    cell=("Graph weights", "Gaussian"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda weight: Graph()(weight),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    p_equation="p(j|i) = w_ij / Σ_k w_ik",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other nodes",
    weights="sum",
    oracle="sne_graph",
    claim=EqualLoss(),
    example=problems.graph,
    constants="p is our reading of the gap: one step of the walk on the graph",
)

TSNE_GRAPH = Method(
    name="t-SNE graph embedding",
    cell=("Graph weights", "Student-t"),
    citation=reference("alshammari2025icon"),
    p=lambda weight: Graph()(weight),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) = w_ij / Σ_k w_ik",
    q_equation="q(j|i) ∝ 1 / (1 + |z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other nodes",
    weights="sum",
    oracle="tsne_graph",
    claim=EqualLoss(),
    example=problems.graph,
    constants="p is our reading of the cell: one step of the walk on the graph",
)

SNE_UNIFORM = Method(
    name="SNE, uniform affinities",
    cell=("kNN", "Gaussian"),
    citation=reference("alshammari2025icon"),
    p=lambda x: KNN(5)(x),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    p_equation="p(j|i) = 1[j in kNN(i)] / k, directed",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="sne_uniform",
    claim=EqualLoss(),
    example=problems.points,
)

TSNE_UNIFORM = Method(
    name="t-SNE, uniform affinities",
    cell=("kNN", "Student-t"),
    citation=reference("alshammari2025icon"),
    p=lambda x: KNN(5)(x),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) = 1[j in kNN(i)] / k, directed",
    q_equation="q(j|i) ∝ 1 / (1 + |z_i - z_j|²)",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="tsne_uniform",
    claim=EqualLoss(),
    example=problems.points,
)

ROWS = (
    SNE,
    TSNE,
    TSNE_ROW,
    TSNE_DF,
    DUAL_TSNE,
    DOUBLY_TSNE,
    SNE_GRAPH,
    TSNE_GRAPH,
    SNE_UNIFORM,
    TSNE_UNIFORM,
)
