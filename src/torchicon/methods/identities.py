"""One method, two faces: identities that the theory proves (theory 1, 2.6, 3 and 4).

A row here is a method of the table whose claim is held against another form of it, or a knob away from another method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from torchicon.core import Candidates, Dense, Rows, entropy
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import Approaches, EqualUpTo
from torchicon.methods.clustering import K_MEANS, T_K_MEANS
from torchicon.methods.contrastive import SIMCLR
from torchicon.methods.kernel_infonce import LOSS_SUM
from torchicon.methods.method import Method, Term
from torchicon.methods.neighbor_embedding import SNE_GRAPH, TSNE, TSNE_ROW
from torchicon.methods.problems import Problem
from torchicon.methods.supervised import HARMONIC
from torchicon.neighborhoods import Clusters, Cosine, Exponential, Gaussian, Graph, StudentT

_TEMPERATURE = 0.1  # SimCLR's
_DF = 2.0


def _entropies_of_graph(problem: Problem) -> float:
    return float(entropy(Graph()(problem["weight"])).sum())


def _knob(example: Callable[[Generator], Problem], name: str) -> Callable[[Generator], Problem]:
    """The example with a scalar that a limit turns; where it stands at first does not matter."""
    return lambda generator: {**example(generator), name: torch.tensor(1.0, dtype=torch.float64)}


SIMCLR_AS_FIELD = replace(
    SIMCLR,
    name="SimCLR as a Markov random field",
    citation=reference("tan2024contrastive"),
    oracle="graph_cross_entropy_of_views",
    claim=EqualUpTo(4.0, lambda _: 0.0),
    example=problems.four_views,
    constants="2B times the loss is the cross-entropy of two random graphs in which each node has one out-neighbor",
)

GRAPH_AS_FIELD = replace(
    SNE_GRAPH,
    name="SNE graph embedding as a Markov random field",
    citation=reference("tan2024contrastive"),
    gap=False,
    oracle="graph_cross_entropy_of_weights",
    claim=EqualUpTo(1.0, _entropies_of_graph),
    example=problems.four_nodes,
    constants="ΣKL + ΣH(P_i) is the cross-entropy of two random graphs in which each node has one out-neighbor",
)

SIMCLR_AS_SPECTRAL = replace(
    SIMCLR,
    name="SimCLR as spectral clustering",
    citation=reference("tan2024contrastive"),
    oracle="spectral_of_views",
    claim=EqualUpTo(16.0, lambda _: 0.0),
    constants="2B times the loss is tr(ZᵀLZ) / τ + Σ_i log Σ_{j≠i} exp(-|z_i - z_j|² / 2τ), L of the pairs",
)

GRAPH_AS_SPECTRAL = replace(
    SNE_GRAPH,
    name="SNE graph embedding as spectral clustering",
    citation=reference("tan2024contrastive"),
    gap=False,
    oracle="spectral_of_weights",
    claim=EqualUpTo(1.0, _entropies_of_graph),
    constants="ΣKL + ΣH(P_i) = tr(ZᵀLZ) / τ + Σ_i log Σ_{j≠i} exp(-|z_i - z_j|² / 2τ), L of (P + Pᵀ) / 2, τ = 1/2",
)

MAXIMUM_ENTROPY = replace(
    SIMCLR,
    name="SimCLR by maximum entropy",
    citation=reference("tan2024contrastive"),
    q=lambda z: Cosine(0.5)(z),
    oracle="maximum_entropy",
    claim=EqualUpTo(0.5, lambda _: 0.0, tolerance=1e-8),  # a maximizer knows its place to the root of round-off
    constants="τ times the loss is the largest Σ_j α_j s_ij - s_i⁺ + τ H(α) over distributions α, on average; τ = 0.5",
)

PRODUCT_OF_EXPERTS = replace(
    LOSS_SUM,
    name="Kernel-InfoNCE as a product of experts",
    oracle="product_of_experts",
    constants="the sum of losses is KL(p||q) - log Σ_j q₁^λ q₂^(1-λ), q ∝ q₁^λ q₂^(1-λ); the last term is at least 0",
)

SIMCLR_OF_GAUSSIAN = replace(
    SIMCLR,
    name="SimCLR with a Gaussian kernel",
    citation=reference("alshammari2025icon"),
    q=lambda z: Gaussian(math.sqrt(_TEMPERATURE))(normalize(z, dim=1)),
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / 2σ²), σ² = τ, on the unit sphere",
)

SIMCLR_OF_EXPONENTIAL = replace(
    SIMCLR,
    name="SimCLR with an exponential kernel",
    citation=reference("tan2024contrastive"),
    q=lambda z: Exponential(2.0, 2 * _TEMPERATURE)(normalize(z, dim=1)),
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|^γ / τ'), γ = 2 and τ' = 2τ, on the unit sphere",
)


def _shares(rows: Rows) -> Dense:
    """The anchors' shares as one row: a distribution over anchors."""
    return Dense(rows.log_mass()[None])


TSNE_OF_ROWS = replace(
    TSNE,
    name="t-SNE as rows and a marginal",
    weights=lambda x: TSNE.p(x).log_mass().exp(),
    others=(Term(p=lambda x: _shares(TSNE.p(x)), q=lambda z: _shares(TSNE.q(z)), weights="sum"),),
    q_equation="q(j|i) ∝ 1 / (1 + |z_i - z_j|²), over each row; ρ_i ∝ Σ_j 1 / (1 + |z_i - z_j|²)",
    constants="Σ_i r_i KL(P_i / r_i||q_i) + KL(r||ρ), r_i = Σ_j P_ij: t-SNE by rows, with weights and a marginal",
)

TSNE_TO_SNE = replace(
    TSNE_ROW,
    name="SNE as t-SNE with many degrees of freedom",
    q=lambda z, df: StudentT(float(df), scale=math.sqrt(0.5))(z),
    q_equation="q(j|i) ∝ (1 + 2 |z_i - z_j|² / ν)^(-(ν + 1) / 2), ν → ∞",
    oracle="sne",
    claim=Approaches("df", lambda h: 10 / h, lambda loss, h, problem: loss, order=1.0),
    example=_knob(problems.points, "df"),
    constants="t-SNE (row) with scale s = √½ tends to SNE, with an error of order 1/ν",
)

STUDENT_T_TO_HARMONIC = replace(
    HARMONIC,
    name="Harmonic loss as a narrow Student-t",
    q=lambda z, prototypes, scale: StudentT(2.0, scale=scale)(
        z, prototypes, candidates=Candidates.all(len(prototypes), "classes")
    ),
    q_equation="q(c|i) ∝ (1 + |z_i - w_c|² / νs²)^(-(ν + 1) / 2), ν = n - 1, s → 0",
    claim=Approaches("scale", lambda h: h, lambda loss, h, problem: loss, order=2.0),
    example=_knob(problems.labeled, "scale"),
    constants="the error is of order s²",
)


def _all(x: Tensor) -> Candidates:
    return Candidates.all(len(x))


def _inertia_of_gaussian(loss: Tensor, h: float, problem: Problem) -> Tensor:
    """sigma^2 (loss - sum log Z) (theory 4e)."""
    gaussian = Gaussian(problem["sigma"])(problem["x"], candidates=_all(problem["x"]))
    return problem["sigma"] ** 2 * (loss - gaussian.log_normalizer().sum())


def _inertia_of_student_t(loss: Tensor, h: float, problem: Problem) -> Tensor:
    """nu s^2 / (nu + 1) times (loss + sum H(q_i) - sum log Z) (theory 2.4)."""
    student = StudentT(_DF, scale=problem["scale"])(problem["x"], candidates=_all(problem["x"]))
    entropies = entropy(Clusters()(problem["logits"].softmax(1))).sum()
    return _DF * problem["scale"] ** 2 / (_DF + 1) * (loss + entropies - student.log_normalizer().sum())


K_MEANS_TO_INERTIA = replace(
    K_MEANS,
    name="K-Means with a narrow Gaussian",
    p=lambda x, sigma: Gaussian(sigma)(x, candidates=_all(x)),
    oracle="inertia",
    claim=Approaches("sigma", math.sqrt, _inertia_of_gaussian, order=1.0),
    example=_knob(problems.assigned, "sigma"),
    constants="σ² (ΣKL(q||p) - Σ log Z_i) → inertia as σ → 0, with an error of σ² ΣH(q_i)",
)

T_K_MEANS_TO_INERTIA = replace(
    T_K_MEANS,
    name="t-K-Means with a wide Student-t",
    p=lambda x, scale: StudentT(_DF, scale=scale)(x, candidates=_all(x)),
    p_equation="p(j|i) ∝ (1 + |x_i - x_j|² / νs²)^(-(ν+1)/2), s → ∞",
    gap=False,
    oracle="inertia",
    claim=Approaches("scale", lambda h: (10 / h) ** 0.5, _inertia_of_student_t, order=1.0),
    example=_knob(problems.assigned, "scale"),
    constants="(νs²/(ν+1)) (ΣKL(q||p) + ΣH(q_i) - Σ log Z_i) → inertia as s → ∞, with an error of order 1/s²",
)

ROWS: tuple[Method, ...] = (
    SIMCLR_AS_FIELD,
    GRAPH_AS_FIELD,
    SIMCLR_AS_SPECTRAL,
    GRAPH_AS_SPECTRAL,
    MAXIMUM_ENTROPY,
    PRODUCT_OF_EXPERTS,
    SIMCLR_OF_GAUSSIAN,
    SIMCLR_OF_EXPONENTIAL,
    TSNE_OF_ROWS,
    TSNE_TO_SNE,
    STUDENT_T_TO_HARMONIC,
    K_MEANS_TO_INERTIA,
    T_K_MEANS_TO_INERTIA,
)
