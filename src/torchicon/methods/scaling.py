"""Linear maps and multidimensional scaling: PCA, MDS (theory 2.1, 3.1, 3.2)."""

from __future__ import annotations

import math

from torchicon.core import Candidates, both_wide, wide
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import Limit
from torchicon.methods.method import Method
from torchicon.neighborhoods import Exponential, Gaussian, Pairs

PCA = Method(
    name="PCA",
    cell=("Identity", "Gaussian, wide"),
    citation=reference("pearson1901lines"),
    p=lambda z: Pairs()(len(z), device=z.device),
    q=lambda z: Gaussian(1.0)(z, candidates=Candidates.all(len(z))),
    divergence=wide,
    p_equation="p(j|i) = 1[i = j]",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / 2σ²), σ → ∞",
    mapper="linear, orthonormal (else unbounded)",
    candidates="all points, self included",
    weights="sum",
    oracle="total_variance",
    claim=Limit(),
    example=problems.points,
    constants="σ² (ΣKL - n log n) → -Σ|z_i - mean|²",
)

MDS = Method(
    name="MDS",
    cell=("Gaussian", "Gaussian, wide"),
    citation=reference("kruskal1964multidimensional"),
    p=lambda x: Exponential(1.0)(x),
    q=lambda z: Exponential(1.0)(z),
    divergence=both_wide,
    p_equation="p(j|i) ∝ exp(-|x_i - x_j| / t), t → ∞",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j| / t), t → ∞",
    mapper="lookup table",
    candidates="the other points",
    weights="sum",
    oracle="row_centered_stress",
    claim=Limit(),
    example=problems.projected,
    constants="t² ΣKL → Σ_i ½ Var_j(|x_i - x_j| - |z_i - z_j|) = raw stress / (n - 1) - ½ Σ_i (row mean)²",
)

MDS_SQUARED = Method(
    name="MDS (squared distances)",
    cell=("Gaussian", "Gaussian, wide"),
    citation=reference("torgerson1952multidimensional"),
    p=lambda x: Gaussian(math.sqrt(0.5))(x, candidates=Candidates.all(len(x))),
    q=lambda z: Gaussian(math.sqrt(0.5))(z, candidates=Candidates.all(len(z))),
    divergence=both_wide,
    p_equation="p(j|i) ∝ exp(-|x_i - x_j|² / 2σ²), σ → ∞",
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / 2σ²), σ → ∞",
    mapper="lookup table",
    candidates="all points, self included",
    weights="sum",
    oracle="strain_and_norms",
    claim=Limit(),
    example=problems.projected,
    constants="4σ⁴ ΣKL → Σ_i ½ Var_j(|x_i - x_j|² - |z_i - z_j|²) = 2 strain / n + ½ Σ_j (centered |x_j|² - |z_j|²)²",
)

ROWS = (PCA, MDS, MDS_SQUARED)
