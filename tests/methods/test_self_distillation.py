"""DINO and BYOL: planted errors, and what makes them I-Con."""

import math

import pytest
import torch
from tests.methods.mutation import survives
from torch.nn import functional as F

from torchicon.core import Candidates, Dense
from torchicon.methods import EqualUpTo, find
from torchicon.neighborhoods import Cosine, Gaussian, Labels


def dino_p(teacher, center, image, *, temperature=0.04, same_view=False, sign=-1):
    rows = torch.arange(len(image))
    keep = image[: len(teacher), None] == image
    if not same_view:
        keep = keep & (rows[: len(teacher), None] != rows)
    of_teacher = keep.nonzero()[:, 0]
    return Dense(((teacher + sign * center) / temperature)[of_teacher], Candidates.all(len(center), "prototypes"))


def dino_q(z, prototypes, image, *, temperature=0.1):
    of_student = ((image[:10, None] == image) & (torch.arange(10)[:, None] != torch.arange(15))).nonzero()[:, 1]
    return Cosine(temperature)(z[of_student], prototypes, candidates=Candidates.all(len(prototypes), "prototypes"))


def every_view_q(z, prototypes, image):
    of_student = (image[:10, None] == image).nonzero()[:, 1]
    return Cosine(0.1)(z[of_student], prototypes, candidates=Candidates.all(len(prototypes), "prototypes"))


def lattice_q(z, lattice, sigma=0.4):
    return Gaussian(sigma)(z, lattice, candidates=Candidates.all(len(lattice), "lattice points"))


def lattice_p(lattice, target):
    return Labels(len(lattice))(target, candidates=Candidates.all(len(lattice), "lattice points"))


MUTANTS = {
    "DINO, not centered": ("DINO", {"p": lambda teacher, center, image: dino_p(teacher, 0 * center, image)}),
    "DINO, center added": ("DINO", {"p": lambda teacher, center, image: dino_p(teacher, center, image, sign=1)}),
    "DINO, not sharpened": (
        "DINO",
        {"p": lambda teacher, center, image: dino_p(teacher, center, image, temperature=0.1)},
    ),
    "DINO, same views too": (
        "DINO",
        {
            "p": lambda teacher, center, image: dino_p(teacher, center, image, same_view=True),
            "q": every_view_q,
        },
    ),
    "DINO, student as sharp": (
        "DINO",
        {"q": lambda z, prototypes, image: dino_q(z, prototypes, image, temperature=0.04)},
    ),
    "DINO, prototypes do not learn": (
        "DINO",
        {"q": lambda z, prototypes, image: dino_q(z, prototypes.detach(), image)},
    ),
    "DINO, entropy dropped": ("DINO", {"claim": EqualUpTo(1.0, lambda _: 0.0)}),
    "DINO, direction swapped": ("DINO", {"direction": "reverse"}),
    "BYOL, not normalized": ("BYOL", {"q": lambda z, lattice: lattice_q(z, lattice)}),
    "BYOL, wrong width": ("BYOL", {"q": lambda z, lattice: lattice_q(F.normalize(z, dim=1), lattice, 0.5)}),
    "BYOL, wrong constant": ("BYOL", {"claim": EqualUpTo(0.32, lambda _: -0.32 * math.log(2 * math.pi * 4 + 1))}),
    "BYOL, other targets": ("BYOL", {"p": lambda lattice, target: lattice_p(lattice, target.roll(1))}),
    "BYOL, scale dropped": ("BYOL", {"claim": EqualUpTo(1.0, lambda _: -math.log(8 * math.pi))}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_dinos_anchors_are_pairs_of_different_views(generator):
    """Of two global views and three in all, four pairs for each of the five images."""
    problem = find("DINO").example(generator)
    p, q = find("DINO").neighborhoods(problem)
    assert p.n == q.n == 4 * 5
    whole = Cosine(0.1)(problem["z"], problem["prototypes"]).dense()
    views = torch.cdist(q.dense(), whole).argmin(1)
    teacher = torch.cdist(p.dense(), ((problem["teacher"] - problem["center"]) / 0.04).softmax(1)).argmin(1)
    assert torch.equal(problem["image"][views], problem["image"][teacher])
    assert (views != teacher).all()


@pytest.mark.parametrize("sigma", [0.4, 0.25])
def test_the_lattice_stands_for_the_plane(generator, sigma):
    """Its normalizer is the integral's, 2 pi sigma^2 / step^2, wherever the anchor is: nothing repels."""
    problem = find("BYOL").example(generator)
    z = F.normalize(problem["z"], dim=1).requires_grad_()
    normalizer = lattice_q(z, problem["lattice"], sigma).log_normalizer()
    expected = torch.full_like(normalizer, math.log(2 * math.pi * sigma**2 / 0.2**2))
    torch.testing.assert_close(normalizer, expected, rtol=1e-12, atol=0)
    [gradient] = torch.autograd.grad(normalizer.sum(), z)
    assert gradient.abs().max() < 1e-10


def test_a_coarse_lattice_does_not(generator):
    problem = find("BYOL").example(generator)
    normalizer = lattice_q(F.normalize(problem["z"], dim=1), problem["lattice"], 0.1).log_normalizer()
    assert normalizer.std() > 1e-3
