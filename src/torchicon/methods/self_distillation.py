"""Self-distillation, as far as it is I-Con: DINO and BYOL (theory 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from torchicon.core import Candidates, Dense, Kernel, entropy
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualUpTo
from torchicon.methods.method import Method
from torchicon.methods.problems import Problem
from torchicon.neighborhoods import Cosine, Gaussian, Labels

_STUDENT, _TEACHER = 0.1, 0.04  # DINO's temperatures
_SIGMA, _STEP = 0.4, 0.2  # BYOL: of the kernel, and between points of the lattice
_NORMALIZER = math.log(2 * math.pi * _SIGMA**2 / _STEP**2)  # of any anchor, to round-off (Poisson summation)


def _different_views(image: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """All (row of the teacher, row of the student) that are different views of one image."""
    rows = torch.arange(len(image), device=image.device)
    same = (image[: len(teacher), None] == image) & (rows[: len(teacher), None] != rows)
    of_teacher, of_student = same.nonzero().unbind(1)
    return of_teacher, of_student


def _dino_p(teacher: Tensor, center: Tensor, image: Tensor, *, teacher_temperature: float = _TEACHER) -> Dense:
    of_teacher, _ = _different_views(image, teacher)
    logits = (teacher - center) / teacher_temperature
    return Dense(logits[of_teacher], Candidates.all(len(center), "prototypes"))


def _dino_q(z: Tensor, prototypes: Tensor, teacher: Tensor, image: Tensor, *, temperature: float = _STUDENT) -> Kernel:
    _, of_student = _different_views(image, teacher)
    candidates = Candidates.all(len(prototypes), "prototypes")
    return Cosine(temperature)(z[of_student], prototypes, candidates=candidates)


def _mean_entropy(problem: Problem) -> float:
    return float(entropy(_dino_p(problem["teacher"], problem["center"], problem["image"])).mean())


DINO = Method(
    name="DINO",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("caron2021emerging"),
    p=_dino_p,
    q=_dino_q,
    p_equation="p(c|i) ∝ exp((g_c - center_c) / τ_t), g the averaged teacher's output for another view of i",
    q_equation="q(c|i) ∝ exp(cos(z_i, w_c) / τ_s)",
    mapper="encoder and projection head; the prototypes w are its last layer, of unit length",
    candidates="the K prototypes; the anchors are all pairs of different views, those of the teacher being global",
    constants="loss = KL + H(p), and p moves: averaging the teacher and its center are outside of the loss",
    oracle="dino",
    claim=EqualUpTo(1.0, _mean_entropy),
    example=problems.cropped_views,
    learns=("z", "prototypes"),
)

BYOL = Method(
    name="BYOL",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("grill2020bootstrap"),
    p=lambda lattice, target: Labels(len(lattice))(target, candidates=Candidates.all(len(lattice), "lattice points")),
    q=lambda z, lattice: Gaussian(_SIGMA)(
        normalize(z, dim=1), lattice, candidates=Candidates.all(len(lattice), "lattice points")
    ),
    p_equation="p(y|i) = 1[y is the averaged teacher's unit vector for the other view of i]",
    q_equation="q(y|i) ∝ exp(-‖z_i / ‖z_i‖ - y‖² / 2σ²)",
    mapper="encoder, projection head and predictor",
    candidates="a lattice that stands for all of space: its normalizer is constant, so nothing is repelled",
    constants="mean of 2 - 2 cos = 2σ² (KL - d log(√(2π) σ / step)); predictor and averaged teacher, without which all "
    "would collapse, are outside of the loss; both views give twice this mean",
    oracle="byol",
    claim=EqualUpTo(2 * _SIGMA**2, lambda _: -2 * _SIGMA**2 * _NORMALIZER),
    example=problems.on_circle,
)

ROWS = (DINO, BYOL)
