"""Supervised learning: cross-entropy (theory 2.3)."""

from __future__ import annotations

import torch

from torchicon.core import Candidates
from torchicon.methods.citations import GOOD
from torchicon.methods.claims import EqualLoss, Problem
from torchicon.methods.method import Method
from torchicon.neighborhoods import Dot, Labels

_CLASSES = Candidates.all(4, "classes")


def _labeled(generator: torch.Generator) -> Problem:
    return {
        "z": torch.randn(20, 6, dtype=torch.float64, generator=generator),
        "prototypes": torch.randn(4, 6, dtype=torch.float64, generator=generator),
        "label": torch.randint(0, 4, (20,), generator=generator),
    }


CROSS_ENTROPY = Method(
    name="Cross-entropy",
    cell=("Data-label", "Gaussian"),
    citation=GOOD,
    p=lambda label: Labels(4)(label, candidates=_CLASSES),
    q=lambda z, prototypes: Dot()(z, prototypes, candidates=_CLASSES),
    p_equation="p(c|i) = 1[c = y_i]",
    q_equation="q(c|i) ∝ exp(w_c · z_i)",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    oracle="cross_entropy",
    claim=EqualLoss(),
    example=_labeled,
)

ROWS = (CROSS_ENTROPY,)
