"""Wide and narrow kernels over positives: VI-Reg, average margins, triplets, the perceptron (theory 3.1, 3.3)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from torchicon.core import Candidates, Kernel, narrow, wide
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import Limit
from torchicon.methods.cross_modal import among, own
from torchicon.methods.method import Method, Term
from torchicon.methods.supervised import one_hot
from torchicon.neighborhoods import Cosine, Dot, Gaussian, Positives

VI_REG = Method(
    name="VI-Reg",
    cell=("Positive pairs", "Gaussian, wide"),
    citation=reference("bardes2022vicreg"),
    p=lambda image: Positives()(image),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    divergence=wide,
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / 2σ²), σ → ∞",
    mapper="encoder and projection head, bounded (else the loss is not)",
    candidates="the other 2B - 1 views of the batch",
    weights="sum",
    oracle="invariance_less_variance",
    claim=Limit(),
    example=problems.views,
    constants="2σ² (ΣKL - 2B log(2B - 1)) → 2 Σ_b |z_b - z'_b|² - 4B/(2B - 1) Σ |z - mean|²: invariance less total "
    "variance; VICReg has a hinge on each standard deviation, and covariances, instead of the second",
)

AVERAGE_MARGIN_CLIP = Method(
    name="Average-margin CLIP",
    cell=("Cross-modal", "Gaussian, wide"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda z: own(z, "texts"),
    q=lambda z, text: among(Cosine(1.0), z, text, "texts"),
    divergence=wide,
    factor=0.5,
    others=(
        Term(
            p=lambda text: own(text, "images"),
            q=lambda z, text: among(Cosine(1.0), text, z, "images"),
            divergence=wide,
            factor=0.5,
        ),
    ),
    p_equation="p(j|i) = 1[i = j], image to text and text to image",
    q_equation="q(j|i) ∝ exp(cos(z_i, text_j) / τ), τ → ∞",
    mapper="image and text encoders",
    candidates="the other modality",
    oracle="average_margin_clip",
    claim=Limit(),
    example=problems.pairs,
    learns=("z", "text"),
    constants="τ (KL - log n) → mean_k cos(z_i, text_k) - cos(z_i, text_i)",
)

AVERAGE_MARGIN_SUPCON = Method(
    name="Average-margin SupCon",
    cell=("Classes", "Gaussian, wide"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda label: Positives()(label),
    q=lambda z: Cosine(1.0)(z),
    divergence=wide,
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] / |P(i)|",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ), τ → ∞",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    oracle="average_margin_supcon",
    claim=Limit(),
    example=problems.classes,
    constants="τ (KL - log(n - 1) + log |P(i)|) → mean_k cos(z_i, z_k) - mean_P(i) cos(z_i, z_j)",
)

TRIPLET = Method(
    name="Triplet",
    cell=("Positive pairs", "Gaussian, narrow"),
    citation=reference("hermans2017defense"),
    p=lambda image: Positives()(image),
    q=lambda z: Gaussian(math.sqrt(0.5))(z),
    divergence=narrow,
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / 2σ²), σ → 0",
    mapper="encoder and projection head",
    candidates="the other 2B - 1 views of the batch",
    oracle="batch_hard_triplet",
    claim=Limit(at_least=True),
    example=problems.doubled_views,
    constants="2σ² KL → max(0, d_positive - d_hardest), squared distances: the batch-hard loss with margin 0",
)


def _cosine_less_margin(z: Tensor, image: Tensor, margin: float) -> Kernel:
    """Dot products of unit vectors, less the margin for the positive: marks of one image meet with opposite sign."""
    unit, mark = torch.nn.functional.normalize(z), math.sqrt(margin) * torch.nn.functional.one_hot(image).to(z.dtype)
    return Dot()(torch.cat([unit, mark], 1), torch.cat([unit, -mark], 1), candidates=Candidates.others(len(z)))


TRIPLET_MARGIN = Method(
    name="Triplet (margin)",
    cell=("Positive pairs", "Gaussian, narrow"),
    citation=reference("schroff2015facenet"),
    p=lambda image: Positives()(image),
    q=lambda z, image, margin=0.2: _cosine_less_margin(z, image, margin=margin / 2),  # d = 2 - 2 cos
    divergence=narrow,
    factor=2.0,
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ exp(-(d_ij + m 1[j is positive]) / 2τ), d = |z_i - z_j|² of unit vectors, m = 0.2, τ → 0",
    mapper="encoder and projection head, unit norm",
    candidates="the other 2B - 1 views of the batch",
    oracle="facenet",
    claim=Limit(at_least=True),
    example=problems.tied_views,
    constants="2τ KL → max(0, d_positive - d_hardest + m)",
)

TRIPLET_CLIP = replace(
    AVERAGE_MARGIN_CLIP,
    name="Triplet CLIP",
    cell=("Cross-modal", "Gaussian, narrow"),
    divergence=narrow,
    others=tuple(replace(term, divergence=narrow) for term in AVERAGE_MARGIN_CLIP.others),
    q_equation="q(j|i) ∝ exp(cos(z_i, text_j) / τ), τ → 0",
    oracle="triplet_clip",
    claim=Limit(at_least=True),
    example=problems.tied_pairs,
    constants="τ KL → max_k cos(z_i, text_k) - cos(z_i, text_i)",
)

TRIPLET_SUPCON = Method(
    name="Triplet SupCon",
    cell=("Classes", "Gaussian, narrow"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda label: Positives()(label),
    q=lambda z: Cosine(1.0)(z),
    divergence=narrow,
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] / |P(i)|",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ), τ → 0",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    oracle="triplet_supcon",
    claim=Limit(at_least=True),
    example=problems.tied_classes,
    constants="τ (KL + log |P(i)|) → max_k cos(z_i, z_k) - mean_P(i) cos(z_i, z_j); the nearest may be a positive",
)

PERCEPTRON = Method(
    name="Perceptron",
    cell=("Data-label", "Gaussian, narrow"),
    citation=reference("rosenblatt1958perceptron"),
    p=lambda label, prototypes: one_hot(label, prototypes),
    q=lambda z, prototypes: Dot()(z, prototypes, candidates=Candidates.all(len(prototypes), "classes")),
    divergence=narrow,
    p_equation="p(c|i) = 1[c = y_i]",
    q_equation="q(c|i) ∝ exp(w_c · z_i / τ), τ → 0",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    oracle="perceptron",
    claim=Limit(at_least=True),
    example=problems.tied_labels,
    learns=("z", "prototypes"),
    constants="τ CE → max_c w_c · z_i - w_y · z_i; it counts no errors, see Error rate",
)

ROWS = (
    VI_REG,
    AVERAGE_MARGIN_CLIP,
    AVERAGE_MARGIN_SUPCON,
    TRIPLET,
    TRIPLET_MARGIN,
    TRIPLET_CLIP,
    TRIPLET_SUPCON,
    PERCEPTRON,
)
