"""Supervised learning: cross-entropy (theory 2.3)."""

from __future__ import annotations

from torchicon.core import Candidates
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method
from torchicon.neighborhoods import Dot, Labels

_CLASSES = Candidates.all(4, "classes")


CROSS_ENTROPY = Method(
    name="Cross-entropy",
    cell=("Data-label", "Gaussian"),
    citation=reference("good1952rational"),
    p=lambda label: Labels(4)(label, candidates=_CLASSES),
    q=lambda z, prototypes: Dot()(z, prototypes, candidates=_CLASSES),
    p_equation="p(c|i) = 1[c = y_i]",
    q_equation="q(c|i) ∝ exp(w_c · z_i)",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    oracle="cross_entropy",
    claim=EqualLoss(),
    example=problems.labeled,
)

ROWS = (CROSS_ENTROPY,)
