"""Linear maps and multidimensional scaling: PCA, MDS (theory 2.1, 3.1, 3.2)."""

from __future__ import annotations

from torchicon.core import Candidates, wide
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import Limit
from torchicon.methods.method import Method
from torchicon.neighborhoods import Gaussian, Pairs

PCA = Method(
    name="PCA",
    cell=("Identity", "Gaussian, wide"),
    citation=reference("pearson1901lines"),
    p=lambda z: Pairs()(len(z)),
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

ROWS = (PCA,)
