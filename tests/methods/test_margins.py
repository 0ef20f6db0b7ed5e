"""Margins: a planted error in any row is seen, ties slow the narrow limits down, and coefficients are as printed."""

import dataclasses
import math

import pytest
import torch
from tests.methods.mutation import survives
from torch.nn import functional as F

from torchicon.core import Candidates, narrow, wide
from torchicon.methods import find, problems
from torchicon.methods.margins import ROWS, _cosine_less_margin
from torchicon.neighborhoods import Classes, Cosine, Dot, Gaussian, Labels, Positives

ROOT_HALF = math.sqrt(0.5)
TEXTS, IMAGES = Candidates.all(12, "texts"), Candidates.all(12, "images")
NARROW = [row for row in ROWS if row.divergence is narrow]


def with_self(recipe, points):
    return recipe(points, candidates=Candidates.all(len(points)))


def back(name, **changes):
    """The direction from text to image, changed."""
    (term,) = find(name).others
    return (dataclasses.replace(term, **changes),)


def slower(limit):
    return dataclasses.replace(limit, before=lambda p, q, h: limit.before(p, q, h**0.5))


MUTANTS = {
    "self left in": ("VI-Reg", {"q": lambda z: with_self(Gaussian(ROOT_HALF), z)}),
    "factor 2 in the exponent": ("VI-Reg", {"q": lambda z: Gaussian(1.0)(z)}),
    "mean for sum": ("VI-Reg", {"weights": "mean"}),
    "wrong positives": ("VI-Reg", {"p": lambda image: Positives()(image // 2)}),
    "narrow for wide": ("VI-Reg", {"divergence": narrow}),
    "one direction": ("Average-margin CLIP", {"others": ()}),
    "halves forgotten": ("Average-margin CLIP", {"factor": 1.0, "others": back("Average-margin CLIP", factor=1.0)}),
    "lengths count": ("Average-margin CLIP", {"q": lambda z, text: Dot()(z, text, candidates=TEXTS)}),
    "temperature": ("Average-margin SupCon", {"q": lambda z: Cosine(0.5)(z)}),
    "self among the positives": (
        "Average-margin SupCon",
        {"p": lambda label: Classes()(label), "q": lambda z: with_self(Cosine(1.0), z)},
    ),
    "anchors without positives counted": (
        "Average-margin SupCon",
        {"weights": lambda z: torch.full((len(z),), 1 / len(z), dtype=z.dtype)},
    ),
    "distances doubled": ("Triplet", {"q": lambda z: Gaussian(0.5)(z)}),
    "average for hardest": ("Triplet", {"divergence": wide}),
    "self the hardest": ("Triplet", {"q": lambda z: with_self(Gaussian(ROOT_HALF), z)}),
    "approached too slowly": ("Triplet", {"divergence": slower(narrow)}),
    "margin of cosines": ("Triplet (margin)", {"q": lambda z, image: _cosine_less_margin(z, image, margin=0.2)}),
    "margin forgotten": ("Triplet (margin)", {"q": lambda z: Cosine(1.0)(z)}),
    "cosines for distances": ("Triplet (margin)", {"factor": 1.0}),
    "one direction twice": ("Triplet CLIP", {"factor": 1.0, "others": ()}),
    "direction swapped": (
        "Triplet CLIP",
        {"others": back("Triplet CLIP", q=lambda z, text: Cosine(1.0)(z, text, candidates=IMAGES))},
    ),
    "text detached": ("Triplet CLIP", {"q": lambda z, text: Cosine(1.0)(z, text.detach(), candidates=TEXTS)}),
    "sum for mean": ("Triplet SupCon", {"weights": "sum"}),
    "one positive": ("Triplet SupCon", {"p": lambda label: _first_positive(label)}),
    "average for nearest": ("Triplet SupCon", {"divergence": wide}),
    "prototypes detached": ("Perceptron", {"q": lambda z, prototypes: Dot()(z, prototypes.detach(), candidates=C4)}),
    "wrong class": ("Perceptron", {"p": lambda label: Labels(4)((label + 1) % 4, candidates=C4)}),
    "cosine": ("Perceptron", {"q": lambda z, prototypes: Cosine(1.0)(z, prototypes, candidates=C4)}),
}
C4 = Candidates.all(4, "classes")


def _first_positive(label):
    """Only the first other member of an anchor's class, and none for those that are alone."""
    p = Positives()(label)
    first = torch.cat([torch.ones(1, dtype=torch.bool), p.anchor[1:] != p.anchor[:-1]])
    return type(p).from_edges(p.anchor[first], p.columns[first], n=p.n, candidates=p.candidates)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_every_row_has_a_mutant():
    assert {row.name for row in ROWS} == {name for name, _ in MUTANTS.values()}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("row", NARROW, ids=str)
def test_ties_for_the_nearest_make_the_order_1(row, seed):
    """The value's error is h times the logarithm of the ties (theory 3.3), and the example has some."""
    problem = row.example(torch.Generator().manual_seed(seed))
    log_ties = sum(_log_ties(term, problem) for term in row.terms)
    assert log_ties > 0.01
    for h in (1e-3, 1e-4, 1e-5):
        assert float((row.before(problem, h) - row.loss(problem)) / h) == pytest.approx(log_ties, rel=0.02)


@pytest.mark.parametrize("name", ["Triplet", "Triplet (margin)"])
def test_the_examples_have_satisfied_and_violated_triplets(name):
    row = find(name)
    hinge = narrow(*row.neighborhoods(row.example(torch.Generator().manual_seed(0))))
    assert 3 <= int((hinge > 0).sum()) <= 13


def _log_ties(term, problem):
    p, q = term.neighborhoods(problem)
    scores = q.score_at(None, slice(0, q.n))
    ties = (scores == scores.amax(1, keepdim=True)).sum(1).double()
    return term.factor * float(ties.log()[~p.empty_anchors()].mean())


@pytest.mark.parametrize("images", [2, 3, 10])
def test_vi_reg_has_the_coefficients_of_the_closed_form(images, normal):
    """2 sum_b |z_b - z'_b|^2 - 4B / (2B - 1) sum |z - mean|^2 (theory 3.1), pair by pair."""
    z = normal(2 * images, 3)
    invariance = sum(((z[b] - z[b + images]) ** 2).sum() for b in range(images))
    variance = sum(((row - z.mean(0)) ** 2).sum() for row in z)
    expected = 2 * invariance - 4 * images / (2 * images - 1) * variance
    problem = {"z": z, "image": torch.arange(images).repeat(2)}
    torch.testing.assert_close(find("VI-Reg").loss(problem), expected)
    assert find("VI-Reg").loss({**problem, "z": 100 * z}) < 100 * expected < 0  # unbounded unless embeddings are


@pytest.mark.parametrize("name", ["Average-margin CLIP", "Triplet CLIP"])
def test_modalities_are_equals(name):
    problem = find(name).example(torch.Generator().manual_seed(1))
    swapped = {"z": problem["text"], "text": problem["z"]}
    torch.testing.assert_close(find(name).loss(problem), find(name).loss(swapped))


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0, 3.0])
def test_any_margin_is_that_of_torch(margin):
    """torch's triplet loss on squared distances of unit vectors with the hardest negative (theory 3.3)."""
    problem = problems.views(torch.Generator().manual_seed(2))
    row = dataclasses.replace(
        find("Triplet (margin)"), q=lambda z, image: _cosine_less_margin(z, image, margin=margin / 2)
    )
    z = F.normalize(problem["z"])
    sq_dist = torch.cdist(z, z).square()
    own = problem["image"][:, None] == problem["image"]
    hardest = sq_dist.masked_fill(own, math.inf).argmin(1)
    expected = F.triplet_margin_with_distance_loss(
        z, z.roll(8, 0), z[hardest], distance_function=lambda a, b: (a - b).square().sum(-1), margin=margin
    )
    torch.testing.assert_close(row.loss(problem), expected)


def test_several_positives_compete_with_the_nearest(normal):
    """The nearest may be a positive: then the loss is its advantage over the mean positive (theory 3.3)."""
    z = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [-1, 0]]).double()
    row = find("Triplet SupCon")
    unit = F.normalize(z)
    gaps = [(unit[i] @ unit.T)[[j for j in range(3) if j != i]] for i in range(3)]
    expected = torch.stack([gap.max() - gap.mean() for gap in gaps]).mean()
    torch.testing.assert_close(row.loss({"z": z, "label": torch.tensor([0, 0, 0, 1])}), expected)


def test_perceptron_is_satisfied_where_nothing_is_wrong(normal):
    """A perceptron that has converged has loss 0; one mistake costs its margin, not 1 (theory 3.3, labels)."""
    prototypes = normal(4, 3)
    z = normal(40, 3)
    label = (z @ prototypes.T).argmax(1)
    problem = {"z": z, "prototypes": prototypes, "label": label}
    assert float(find("Perceptron").loss(problem)) == 0
    label = label.clone()
    scores = z[0] @ prototypes.T
    label[0] = scores.argmin()
    expected = (scores.max() - scores.min()) / 40
    torch.testing.assert_close(find("Perceptron").loss({**problem, "label": label}), expected)
