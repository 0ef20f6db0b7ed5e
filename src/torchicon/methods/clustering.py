"""Clustering: K-Means and InfoNCE clustering in both normalizations (theory 2.4)."""

from __future__ import annotations

from torchicon.core import Candidates
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method
from torchicon.neighborhoods import KNN, Clusters, Gaussian

_BANDWIDTH = 1.5


K_MEANS = Method(
    name="K-Means",
    cell=("Gaussian", "Clusters"),
    citation=reference("macqueen1967some"),
    p=lambda x: Gaussian(_BANDWIDTH)(x, candidates=Candidates.all(len(x))),
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

INFONCE_CLUSTERING = Method(
    name="InfoNCE clustering",
    cell=("kNN", "Clusters"),
    citation=reference("alshammari2025icon"),
    p=lambda x: KNN(3)(x, candidates=Candidates.all(len(x))),
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
    p=lambda x: KNN(3)(x, candidates=Candidates.all(len(x))),
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

ROWS = (K_MEANS, INFONCE_CLUSTERING, INFONCE_CLUSTERING_BY_POINT)
