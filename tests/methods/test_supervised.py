"""Supervised rows: planted errors, and what the theory says about them beyond their claims."""

import math

import pytest
import torch
from tests.methods.mutation import survives

from torchicon.core import Candidates, Sparse, kl
from torchicon.methods import EqualUpTo, find
from torchicon.neighborhoods import Dot, Gaussian, Harmonic, Labels, StudentT, debias

CLASSES, TOKENS = Candidates.all(4, "classes"), Candidates.all(7, "tokens")
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def label_of(label):
    return Labels(4)(label, candidates=CLASSES)


def linear(z, prototypes, bias, candidates=CLASSES, temperature=1.0):
    one = z.new_ones(len(z), 1)
    return Dot(temperature)(torch.cat([z, one], 1), torch.cat([prototypes, bias[:, None]], 1), candidates=candidates)


def error_rate_q(share, sign=1):
    return lambda z, prototypes, bias: debias(label_of((sign * z @ prototypes.T + bias).argmax(1)), share)


def all_tokens(label):
    return Labels(7)(label, candidates=TOKENS)


def previous_token(label):
    anchor = torch.arange(1, len(label))
    return Sparse.from_edges(anchor, label[:-1], n=len(label), candidates=TOKENS)


def unmasked(label, masked):
    return Sparse.from_edges((~masked).nonzero()[:, 0], label[~masked], n=len(label), candidates=TOKENS)


MUTANTS = {
    "cross-entropy, bias dropped": (
        "Cross-entropy",
        {"q": lambda z, prototypes: Dot()(z, prototypes, candidates=CLASSES)},
    ),
    "cross-entropy, prototypes do not learn": (
        "Cross-entropy",
        {"q": lambda z, prototypes, bias: linear(z, prototypes.detach(), bias)},
    ),
    "cross-entropy, wrong temperature": (
        "Cross-entropy",
        {"q": lambda z, prototypes, bias: linear(z, prototypes, bias, temperature=2.0)},
    ),
    "cross-entropy, sum": ("Cross-entropy", {"weights": "sum"}),
    "label smoothing, none": ("Label smoothing", {"p": label_of}),
    "label smoothing, too much": ("Label smoothing", {"p": lambda label: debias(label_of(label), 0.2)}),
    "label smoothing, entropy dropped": ("Label smoothing", {"claim": EqualUpTo(1.0, lambda _: 0.0)}),
    "label smoothing, of q": (
        "Label smoothing",
        {"p": label_of, "q": lambda z, prototypes, bias: debias(linear(z, prototypes, bias), 0.1)},
    ),
    "masked token, all positions": ("Masked-token cross-entropy", {"p": all_tokens}),
    "masked token, the others": ("Masked-token cross-entropy", {"p": unmasked}),
    "masked token, mean over all": (
        "Masked-token cross-entropy",
        {"weights": lambda label: torch.full((len(label),), 1 / len(label), dtype=torch.float64)},
    ),
    "next token, the same": ("Next-token cross-entropy", {"p": all_tokens}),
    "next token, the previous": ("Next-token cross-entropy", {"p": previous_token}),
    "squared error, wrong width": (
        "Squared error",
        {"q": lambda z, lattice: Gaussian(0.5)(z, lattice, candidates=Candidates.all(len(lattice), "lattice points"))},
    ),
    "squared error, heavy tails": (
        "Squared error",
        {"q": lambda z, lattice: StudentT()(z, lattice, candidates=Candidates.all(len(lattice), "lattice points"))},
    ),
    "squared error, sum": ("Squared error", {"weights": "sum"}),
    "harmonic, exponent of the square": (
        "Harmonic loss",
        {"q": lambda z, prototypes: Harmonic(6.0)(z, prototypes, candidates=CLASSES)},
    ),
    "harmonic, Student-t": (
        "Harmonic loss",
        {"q": lambda z, prototypes: StudentT(2.0)(z, prototypes, candidates=CLASSES)},
    ),
    "error rate, least likely class": ("Error rate", {"q": error_rate_q(0.01, sign=-1)}),
    "error rate, share and constants disagree": ("Error rate", {"q": error_rate_q(0.02)}),
    "error rate, direction swapped": ("Error rate", {"direction": "reverse"}),
    "error rate, with a gradient": (
        "Error rate",
        {"q": lambda z, prototypes, bias: debias(linear(z, prototypes, bias, temperature=1e-1), 0.01)},
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


@pytest.mark.parametrize("name", ["Masked-token cross-entropy", "Next-token cross-entropy"])
def test_a_position_without_a_target_learns_nothing(name, generator):
    problem = find(name).example(generator)
    z = problem["z"].requires_grad_()
    [gradient] = torch.autograd.grad(find(name).loss(problem), z)
    learns = gradient.abs().sum(1) > 0
    last = torch.arange(len(z)) < len(z) - 1
    assert torch.equal(learns, problem["masked"] if name.startswith("Masked") else last)


@pytest.mark.parametrize("share", [0.5, 1e-2, 1e-6])
def test_error_rate_from_any_share(share, generator):
    """(KL - a) / (b - a) does not depend on the uniform share (theory 3.3)."""
    problem = find("Error rate").example(generator)
    z, prototypes, bias, label = (problem[name] for name in ("z", "prototypes", "bias", "label"))
    a, b = -math.log(1 - share + share / 4), -math.log(share / 4)
    divergence = kl(label_of(label), error_rate_q(share)(z, prototypes, bias)).mean()
    wrong = ((z @ prototypes.T + bias).argmax(1) != label).double().mean()
    assert 0 < wrong < 1
    torch.testing.assert_close((divergence - a) / (b - a), wrong, **EXACT)


def test_error_rate_is_where_a_narrow_classifier_ends(generator):
    """Its q is cross-entropy's as the temperature goes to 0, debiased (theory 3.3)."""
    method = find("Error rate")
    problem = method.example(generator)
    z, prototypes, bias, label = (problem[name] for name in ("z", "prototypes", "bias", "label"))
    gaps = [
        abs(
            float(
                kl(label_of(label), debias(linear(z, prototypes, bias).tempered(1 / h), 0.01)).mean()
                - method.loss(problem)
            )
        )
        for h in (1.0, 1e-1, 1e-3)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-12


def test_harmonic_loss_has_no_unit(generator):
    """Scaling points and prototypes together changes nothing (theory 1)."""
    method = find("Harmonic loss")
    problem = method.example(generator)
    scaled = {**problem, "z": 1e3 * problem["z"], "prototypes": 1e3 * problem["prototypes"]}
    torch.testing.assert_close(method.loss(scaled), method.loss(problem), **EXACT)


def test_squared_error_needs_targets_on_a_lattice_that_is_wide_enough(generator):
    """At its edge the normalizer is no constant any more, and the claim would be false."""
    method = find("Squared error")
    problem = method.example(generator)
    far = {**problem, "z": problem["z"] + 9.5}
    oracle = (far["z"] - far["lattice"][far["target"]]).square().mean()
    claimed = method.claim.scale * method.loss(far) + method.claim.offset(far)
    assert abs(claimed - oracle) > 1e-3
