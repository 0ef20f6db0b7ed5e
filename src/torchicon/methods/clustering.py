"""Clustering: K-Means, normalized cuts, DCD, InfoNCE clustering and their kin (theory 2.4). Self is a candidate."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from torchicon.core import Candidates, cross_entropy
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss, EqualUpTo
from torchicon.methods.method import Method
from torchicon.methods.problems import Problem
from torchicon.neighborhoods import (
    KNN,
    Classes,
    Clusters,
    Gaussian,
    Graph,
    NormalizedCut,
    Pairs,
    Positives,
    StudentT,
)

_BANDWIDTH, _NEIGHBORS = 1.5, 3


def _similarity(x: Tensor, k: int) -> Tensor:
    """Symmetric graph of the k nearest: half of each directed edge, (n, n) sparse."""
    p = KNN(k)(x)
    half = torch.full_like(p.log_p, 0.5)
    ends = torch.stack([torch.cat([p.anchor, p.columns]), torch.cat([p.columns, p.anchor])])
    shape = (len(x), len(x))
    return torch.sparse_coo_tensor(
        ends, torch.cat([half, half]), shape, device=x.device, check_invariants=True
    ).coalesce()


def _degrees(x: Tensor, *, k: int = _NEIGHBORS) -> Tensor:
    return _similarity(x, k).sum(1).to_dense()


def _dcd_constant(problem: Problem) -> float:
    """Generalized KL(A || q) = sum A log(A / q) - A + q, with row sums d of A and 1 of q."""
    degree = _degrees(problem["x"])
    return float((degree * degree.log() - degree + 1).sum())


K_MEANS = Method(
    name="K-Means",
    cell=("Gaussian", "Clusters"),
    citation=reference("macqueen1967some"),
    p=lambda x, bandwidth=_BANDWIDTH: Gaussian(bandwidth)(x, candidates=Candidates.all(len(x))),
    q=lambda logits: Clusters()(logits.softmax(1)),
    p_equation="p(j|i) ∝ exp(-|x_i - x_j|² / 2σ²)",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc / n_c, φ = softmax(z)",
    mapper="lookup table of assignments",
    candidates="all points, self included",
    direction="reverse",
    weights="sum",
    learns=("logits",),
    oracle="kmeans",
    claim=EqualLoss(),
    example=problems.assigned,
    constants="ΣKL(q||p) = inertia/σ² - ΣH(q_i) + Σ log Z_i",
)


def _log_normalizers_of_gaussian(problem: Problem) -> float:
    x = problem["x"]
    return float(Gaussian(_BANDWIDTH)(x, candidates=Candidates.all(len(x))).log_normalizer().sum())


K_MEANS_CROSS_ENTROPY = replace(
    K_MEANS,
    name="K-Means (cross-entropy)",
    divergence=cross_entropy,
    oracle="inertia",
    claim=EqualUpTo(_BANDWIDTH**2, lambda problem: -(_BANDWIDTH**2) * _log_normalizers_of_gaussian(problem)),
    constants="inertia = σ² (Σ H(q_i, p_i) - Σ log Z_i): without the entropies of the KL, Lloyd's objective itself",
)

INFONCE_CLUSTERING = Method(
    name="InfoNCE clustering",
    cell=("kNN", "Clusters"),
    citation=reference("alshammari2025icon"),
    p=lambda x, k=_NEIGHBORS: KNN(k)(x, candidates=Candidates.all(len(x))),
    q=lambda logits: Clusters("cluster")(logits.softmax(1)),
    p_equation="p(j|i) = 1[j in kNN(i)] / k",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc / n_c, φ = softmax(z)",
    mapper="linear or MLP head on frozen features",
    candidates="all points, self included",
    learns=("logits",),
    oracle="infonce_by_cluster",
    claim=EqualLoss(),
    example=problems.assigned,
)

INFONCE_CLUSTERING_BY_POINT = Method(
    name="InfoNCE clustering (by point)",
    cell=("kNN", "Clusters"),
    citation=reference("do2021clustering"),
    p=lambda x, k=_NEIGHBORS: KNN(k)(x, candidates=Candidates.all(len(x))),
    q=lambda logits: Clusters("point")(logits.softmax(1)),
    p_equation="p(j|i) = 1[j in kNN(i)] / k",
    q_equation="q(j|i) = φ_i · φ_j / Σ_k φ_i · φ_k, φ = softmax(z)",
    mapper="linear or MLP head on frozen features",
    candidates="all points, self included",
    learns=("logits",),
    oracle="infonce_by_point",
    claim=EqualLoss(),
    example=problems.assigned,
    constants="CRLC's log-dot critic: its softmax over a batch is this q",
)

T_K_MEANS = Method(
    name="t-K-Means",
    cell=("Student-t", "Clusters"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda x, scale=_BANDWIDTH: StudentT(scale=scale)(x, candidates=Candidates.all(len(x))),
    q=lambda logits: Clusters()(logits.softmax(1)),
    p_equation="p(j|i) ∝ (1 + |x_i - x_j|² / νs²)^(-(ν+1)/2), ν = 1",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc / n_c, φ = softmax(z)",
    mapper="lookup table of assignments",
    candidates="all points, self included",
    direction="reverse",
    weights="sum",
    learns=("logits",),
    oracle="t_kmeans",
    claim=EqualLoss(),
    example=problems.assigned,
    constants="none; (νs²/(ν+1)) (ΣKL(q||p) + ΣH(q_i) - Σ log Z_i) → inertia as s → ∞, else there are no centroids",
)

NORMALIZED_CUTS = Method(
    name="Normalized cuts",
    cell=("Graph weights", "Clusters"),
    citation=reference("shi2000normalized"),
    p=lambda weight: NormalizedCut()(weight),
    q=lambda logits, weight: Clusters()(logits.softmax(1), weights=weight.sum(1)),
    p_equation="p(j|i) ∝ exp(w_ij / d_j), over all nodes",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc d_j / vol_c, φ = softmax(z)",
    mapper="lookup table of assignments",
    candidates="all nodes, self included",
    direction="reverse",
    weights="sum",
    learns=("logits",),
    oracle="normalized_cuts",
    claim=EqualLoss(),
    example=problems.graph,
    constants="ΣKL(q||p) = NCut - m + Σ log Z_i - ΣH(q_i), and the entropies outweigh the cut",
)


def _log_normalizers_of_cut(problem: Problem) -> float:
    weight = problem["weight"]
    return float((weight / weight.sum(1)).logsumexp(1).sum())


NORMALIZED_CUTS_CROSS_ENTROPY = replace(
    NORMALIZED_CUTS,
    name="Normalized cuts (cross-entropy)",
    divergence=cross_entropy,
    oracle="normalized_cut",
    claim=EqualUpTo(1.0, lambda problem: problem["logits"].shape[1] - _log_normalizers_of_cut(problem)),
    constants="NCut = Σ H(q_i, p_i) + m - Σ log Z_i: without the entropies of the KL, the cut itself",
)

DCD = Method(
    name="DCD",
    cell=("kNN", "Clusters"),
    citation=reference("yang2012clustering"),
    p=lambda x, k=_NEIGHBORS: Graph()(_similarity(x, k), candidates=Candidates.all(len(x))),
    q=lambda logits: Clusters()(logits.softmax(1)),
    p_equation="p(j|i) = A_ij / d_i, A the symmetric graph of the k nearest",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc / n_c, φ = softmax(z)",
    mapper="lookup table of assignments",
    candidates="all points, self included",
    weights=_degrees,
    learns=("logits",),
    oracle="dcd",
    claim=EqualUpTo(1.0, _dcd_constant),
    example=problems.assigned,
    constants="generalized KL(A||q) = Σ d_i KL_i + Σ (d_i log d_i - d_i + 1); the paper's Dirichlet prior "
    "-(α-1) Σ log φ is left out (α = 1): its use is open",
)

INFONCE_CLUSTERING_OF_PAIRS = Method(
    name="InfoNCE clustering (positive pairs)",
    cell=("Positive pairs", "Clusters"),
    citation=reference("alshammari2025icon"),
    p=lambda image: Positives()(image, candidates=Candidates.all(len(image))),
    q=lambda logits: Clusters("cluster")(logits.softmax(1)),
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc / n_c, φ = softmax(z)",
    mapper="encoder and cluster head",
    candidates="all 2B views of the batch, self included",
    learns=("logits",),
    oracle="infonce_of_pairs",
    claim=EqualLoss(),
    example=problems.clustered_views,
)

TEMI = Method(
    name="TEMI",
    cell=("kNN", "Clusters"),
    citation=reference("adaloglou2023exploring"),
    p=lambda x, k=_NEIGHBORS: KNN(k)(x, candidates=Candidates.all(len(x))),
    q=lambda logits, teacher: Clusters()(logits.softmax(1), teacher.softmax(1).detach()),
    p_equation="p(j|i) = 1[j in kNN(i)] / k",
    q_equation="q(j|i) = Σ_c φ_ic φ'_jc / Σ_k φ'_kc, φ' of the teacher",
    mapper="cluster head on frozen features, with an averaged teacher",
    candidates="the teacher's rows of all B points, self included",
    learns=("logits",),
    oracle="temi",
    claim=EqualUpTo(1.0, lambda problem: math.log(_NEIGHBORS) - math.log(len(problem["x"]))),
    example=problems.taught_clusters,
    constants="mean of beta_mi over the k neighbors = KL + log k - log B, with the teacher's mean probability as pk; "
    "β < 1, weights of pairs and several heads are not I-Con",
)

CROSS_MODAL_CLUSTERING = Method(
    name="Cross-modal clustering",
    cell=("Cross-modal", "Clusters"),
    citation=reference("alshammari2025icon"),
    p=lambda logits: Pairs()(len(logits), candidates=Candidates.all(len(logits), "texts"), device=logits.device),
    q=lambda logits, text_logits: Clusters()(
        logits.softmax(1), text_logits.softmax(1), candidates=Candidates.all(len(text_logits), "texts")
    ),
    p_equation="p(j|i) = 1[j is the text of image i]",
    q_equation="q(j|i) = Σ_c φ_ic ψ_jc / Σ_k ψ_kc, φ of images, ψ of texts",
    mapper="an encoder and a cluster head for each modality",
    candidates="the texts of the batch",
    learns=("logits", "text_logits"),
    oracle="cross_modal_clustering",
    claim=EqualLoss(),
    example=problems.paired_clusters,
)

SUPERVISED_CLUSTERING = Method(
    name="Supervised clustering",
    cell=("Classes", "Clusters"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda label: Classes()(label),
    q=lambda logits: Clusters()(logits.softmax(1)),
    p_equation="p(j|i) = 1[y_j = y_i] / n_y, self included",
    q_equation="q(j|i) = Σ_c φ_ic φ_jc / n_c, φ = softmax(z)",
    mapper="encoder and cluster head",
    candidates="all points, self included",
    learns=("logits",),
    oracle="supervised_clustering",
    claim=EqualLoss(),
    example=problems.labeled_clusters,
    constants="none; KL = 0 where the clusters are the classes",
)

ROWS = (
    K_MEANS,
    K_MEANS_CROSS_ENTROPY,
    T_K_MEANS,
    NORMALIZED_CUTS,
    NORMALIZED_CUTS_CROSS_ENTROPY,
    DCD,
    INFONCE_CLUSTERING,
    INFONCE_CLUSTERING_BY_POINT,
    INFONCE_CLUSTERING_OF_PAIRS,
    TEMI,
    CROSS_MODAL_CLUSTERING,
    SUPERVISED_CLUSTERING,
)
