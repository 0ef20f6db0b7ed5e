"""Contrastive rows: planted errors, and what the theory says about them beyond their claims."""

import dataclasses
import math

import pytest
import torch
from tests.methods.mutation import survives
from torch.nn import functional as F

from torchicon import oracles
from torchicon.core import Candidates, Sparse, entropy, objective
from torchicon.methods import EqualUpTo, find
from torchicon.neighborhoods import (
    KNN,
    Classes,
    Cosine,
    Gaussian,
    Labels,
    PositiveOrRest,
    Positives,
    StudentT,
    condition,
)

EXACT = {"rtol": 1e-12, "atol": 1e-12}
OUTCOMES = Candidates.all(2, "outcomes")


def keys_of(view, z, teacher, temperature=0.2):
    """MoCo's queries of the first view over the keys of ``view``."""
    keys = teacher.chunk(2)[view]
    return Cosine(temperature)(z.chunk(2)[0], keys, candidates=Candidates.all(len(keys), "keys of the other view"))


def moco_q_of_keys(z, teacher):
    queries, keys = z.chunk(2)[0], teacher.chunk(2)[1]
    return Cosine(0.2)(keys, queries, candidates=Candidates.all(len(keys), "keys of the other view"))


def first_view(image):
    """One of two positives: the image's first view, or its second for the first."""
    column = torch.where(torch.arange(18) < 6, image + 6, image)
    return Sparse.from_neighbors(column[:, None], candidates=Candidates.others(18))


def moco_q_of_one_key(z, teacher, queue):
    """The first anchor's key in front of the queue, for every anchor."""
    keys = torch.cat([teacher.chunk(2)[1][:1], queue])
    return Cosine(0.07)(z.chunk(2)[0], keys, candidates=Candidates.all(len(keys), "own key and queue"))


MUTANTS = {
    "InfoNCE, one positive of two": ("InfoNCE", {"p": first_view}),
    "InfoNCE, other images": ("InfoNCE", {"p": lambda image: Positives()(image // 2)}),
    "InfoNCE, constant of three positives": ("InfoNCE", {"claim": EqualUpTo(1.0, lambda _: math.log(3))}),
    "InfoNCE, self left in": ("InfoNCE", {"q": lambda z: Cosine(0.1)(z, candidates=Candidates.all(len(z)))}),
    "SimCLR, not normalized": ("SimCLR", {"q": lambda z: Gaussian(math.sqrt(0.1))(z)}),
    "MoCo, one key for all": ("MoCo", {"q": moco_q_of_one_key}),
    "MoCo, wrong temperature": ("MoCo", {"q": find("MoCo").at(temperature=0.1).q}),
    "MoCo v3, factor dropped": ("MoCo v3", {"factor": 1.0}),
    "MoCo v3, one direction": ("MoCo v3", {"others": ()}),
    "MoCo v3, keys of the same view": ("MoCo v3", {"q": lambda z, teacher: keys_of(0, z, teacher)}),
    "MoCo v3, wrong temperature": ("MoCo v3", {"q": lambda z, teacher: keys_of(1, z, teacher, 0.1)}),
    "MoCo v3, direction swapped": ("MoCo v3", {"q": moco_q_of_keys}),
    "debiased, no prior": (
        "Debiased contrastive learning",
        {"q": lambda z, image: PositiveOrRest(0.5, prior=0.0)(z, Positives()(image), candidates=OUTCOMES)},
    ),
    "debiased, wrong temperature": (
        "Debiased contrastive learning",
        {"q": lambda z, image: PositiveOrRest(0.4, prior=0.2)(z, Positives()(image), candidates=OUTCOMES)},
    ),
    "debiased, the rest for the positive": (
        "Debiased contrastive learning",
        {"p": lambda image: Labels(2)(torch.ones_like(image), candidates=OUTCOMES)},
    ),
    "LGSimCLR, two neighbors": ("LGSimCLR", {"p": lambda caption: KNN(2, metric="cosine")(caption)}),
    "LGSimCLR, wrong metric": ("LGSimCLR", {"p": lambda caption: KNN(1)(caption)}),
    "LGSimCLR, neighbors of images": ("LGSimCLR", {"p": lambda z: KNN(1, metric="cosine")(z)}),
    "t-SimCLR, rows": ("t-SimCLR", {"weights": "mean"}),
    "t-SimCLR, wrong scale": ("t-SimCLR", {"q": lambda z: StudentT(5.0)(z)}),
    "t-SimCLR (row), joint": ("t-SimCLR (row)", {"weights": "joint"}),
    "t-SimCLR (row), wrong tails": ("t-SimCLR (row)", {"q": lambda z: StudentT(4.0, scale=math.sqrt(0.5))(z)}),
    "t-SimCLR (row), normalized": (
        "t-SimCLR (row)",
        {"q": lambda z: StudentT(5.0, scale=math.sqrt(0.5))(F.normalize(z, dim=1))},
    ),
    "t-SimCNE, later code's scale": ("t-SimCNE", {"q": lambda z: StudentT(scale=math.sqrt(0.5))(z)}),
    "t-SimCNE, self left in": ("t-SimCNE", {"q": lambda z: StudentT()(z, candidates=Candidates.all(len(z)))}),
    "SupCon, self a positive": (
        "SupCon",
        {
            "p": lambda label: Classes()(label),
            "q": lambda z: Cosine(0.1)(z, candidates=Candidates.all(len(z))),
        },
    ),
    "SupCon, sum": ("SupCon", {"weights": "sum"}),
    "SupCon (in), uniform p": ("SupCon (in)", {"p": lambda label: Positives()(label)}),
    "SupCon (in), p of another temperature": (
        "SupCon (in)",
        {"p": lambda z, label: condition(Cosine(0.3)(z), Positives()(label))},
    ),
    "t-SupCon, Gaussian": ("t-SupCon", {"q": lambda z: Gaussian(math.sqrt(0.5))(z)}),
    "t-SupCon, constant dropped": ("t-SupCon", {"claim": EqualUpTo(1.0, lambda _: 0.0)}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


@pytest.mark.parametrize("name", ["SupCon", "SupCon (in)"])
def test_the_printed_supcon_loss_is_a_sum(name, generator):
    """Khosla et al. sum over anchors: as many times the mean as there are anchors with a positive (theory 2.2)."""
    method = find(name)
    problem = method.example(generator)
    label = problem["label"]
    positives = (label[:, None] == label).sum(1) - 1
    anchors = int((positives > 0).sum())
    assert anchors < len(label)
    value, gradient = oracles.ORACLES[method.oracle](problem)
    printed = dataclasses.replace(
        method,
        weights="sum",
        oracle=lambda _: (anchors * value, anchors * gradient),
        claim=EqualUpTo(1.0, lambda _: float(positives[positives > 0].double().log().sum())),
    )
    assert printed.claim.check(printed, printed.oracle, problem).passed


def test_supcon_in_is_at_most_supcon_out(generator):
    """L_in <= L_out: its p is the best of all p on the positives, the uniform one among them (theory 4b)."""
    inside, outside = find("SupCon (in)"), find("SupCon")
    problem = inside.example(generator)
    assert inside.loss(problem) < outside.loss(problem)
    other = dataclasses.replace(inside, p=lambda z, label: condition(Cosine(0.11)(z), Positives()(label)))
    assert inside.loss(problem) < other.loss(problem)


def test_x_sample_is_a_soft_target_cross_entropy(generator):
    """Over the others, self in neither side: torch's cross-entropy with soft targets less their entropy."""
    method = find("X-Sample")
    problem = method.example(generator)
    z, caption = problem["z"].requires_grad_(), problem["caption"]
    n = len(z)
    off = ~torch.eye(n, dtype=torch.bool)

    def others(x):
        return (F.cosine_similarity(x[:, None], x[None], dim=-1) / 0.1)[off].reshape(n, n - 1)

    target = others(caption).softmax(1)
    expected = F.cross_entropy(others(z), target) - torch.special.entr(target).sum(1).mean()
    found = method.loss(problem)
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(torch.autograd.grad(found, z), torch.autograd.grad(expected, z), **EXACT)
    p, _ = method.neighborhoods(problem)
    torch.testing.assert_close(entropy(p), torch.special.entr(target).sum(1), **EXACT)


def test_t_simcne_of_its_later_code_is_the_same_map_in_other_units(generator):
    """1 / (1 + 2d) of z is 1 / (1 + d) of sqrt(2) z (theory 2.2)."""
    method = find("t-SimCNE")
    problem = method.example(generator)
    p = method.p(problem["image"])
    later = objective(p, StudentT(scale=math.sqrt(0.5))(problem["z"]))
    torch.testing.assert_close(later, objective(p, StudentT()(math.sqrt(2) * problem["z"])), **EXACT)


def test_supcon_in_does_not_need_the_gradient_of_its_p():
    """At the best p it is zero, so a detached p gives the same loss and gradient (theory 4b)."""
    assert survives("SupCon (in)", {"p": lambda z, label: condition(Cosine(0.1)(z.detach()), Positives()(label))})


def test_no_debiasing_is_simclr(generator):
    """With a prior of 0 the rest are the negatives as they are, so KL over two outcomes is KL over all candidates."""
    problem = find("SimCLR").example(generator)
    simclr = dataclasses.replace(find("SimCLR"), q=lambda z: Cosine(0.5)(z))
    plain = dataclasses.replace(
        find("Debiased contrastive learning"),
        q=lambda z, image: PositiveOrRest(0.5, prior=0.0)(z, Positives()(image), candidates=OUTCOMES),
    )
    torch.testing.assert_close(plain.loss(problem), simclr.loss(problem), **EXACT)
