"""Kernel-InfoNCE: a planted error fails every row, and the two sums are two objectives."""

from __future__ import annotations

import pytest
import torch
from tests.methods.mutation import survives
from torch.nn.functional import normalize

from torchicon.core import Candidates, Dense, kl
from torchicon.methods import find
from torchicon.methods.kernel_infonce import GAUSSIAN_FIRST, KERNEL_SUM, LAPLACIAN_FIRST, LOSS_SUM, ROWS
from torchicon.neighborhoods import ConcatenatedKernels, Exponential, Positives, SumOfKernels

LAPLACIAN, GAUSSIAN = Exponential(1.0, 0.4), Exponential(2.0, 0.3)
SUM = {True: "Kernel-InfoNCE (sum of losses)", False: "Kernel-InfoNCE (concatenation, sum of losses, Laplacian first)"}

REVERSED = "Kernel-InfoNCE (concatenation, sum of losses, Gaussian first)"

MUTANTS = {
    "the other order": (REVERSED, {"q": find(SUM[False]).q, "others": find(SUM[False]).others}),
    "another gamma": ("Kernel-InfoNCE", {"q": lambda z: Exponential(1.0, 0.4)(normalize(z, dim=1))}),
    "half of gamma": (
        "Kernel-InfoNCE",
        {"q": lambda z: Exponential(0.25, 0.4)(normalize(z, dim=1))},
    ),
    "off the sphere": ("Laplacian Kernel-InfoNCE", {"q": lambda z: LAPLACIAN(z)}),
    "square for distance": ("Laplacian Kernel-InfoNCE", {"q": lambda z: Exponential(2.0, 0.4)(normalize(z, dim=1))}),
    "temperatures swapped": (
        "Kernel-InfoNCE (sum of kernels)",
        {"q": lambda z: SumOfKernels(Exponential(2.0, 0.4), Exponential(1.0, 0.3))(normalize(z, dim=1))},
    ),
    "self left in": (
        "Kernel-InfoNCE (sum of kernels)",
        {"q": lambda z: SumOfKernels(LAPLACIAN, GAUSSIAN)(normalize(z, dim=1), candidates=Candidates.all(len(z)))},
    ),
    "lambda and 1 - lambda swapped": (SUM[True], {"factor": 0.2}),
    "a term dropped": (SUM[True], {"others": ()}),
    "kernels added instead of losses": (
        SUM[True],
        {"q": lambda z: SumOfKernels(LAPLACIAN, GAUSSIAN)(normalize(z, dim=1)), "factor": 1.0, "others": ()},
    ),
    "halves swapped": ("Kernel-InfoNCE (concatenation, Laplacian first)", {"q": GAUSSIAN_FIRST.q}),
    "halves swapped too": ("Kernel-InfoNCE (concatenation, Gaussian first)", {"q": LAPLACIAN_FIRST.q}),
    "halves of unit length": (
        "Kernel-InfoNCE (concatenation, Gaussian first)",
        {
            "q": lambda z: ConcatenatedKernels(GAUSSIAN, LAPLACIAN)(
                torch.cat([normalize(half, dim=1) for half in z.chunk(2, 1)], 1)
            )
        },
    ),
    "the whole for a half": (SUM[False], {"q": lambda z: LAPLACIAN(normalize(z, dim=1))}),
    "sum for mean": (SUM[False], {"weights": "sum"}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_every_row_has_a_planted_error():
    assert {name for name, _ in MUTANTS.values()} == {method.name for method in ROWS}


def test_gaussian_kernel_infonce_is_simclr(generator):
    """gamma = 2 with twice the temperature on the unit sphere (theory 2.6)."""
    problem = find("SimCLR").example(generator)
    q = Exponential(2.0, 0.2)(normalize(problem["z"], dim=1))
    found = kl(Positives()(problem["image"]), q).mean()
    torch.testing.assert_close(found, find("SimCLR").loss(problem), rtol=1e-12, atol=0)


def test_a_sum_of_losses_is_a_product_of_experts_plus_a_chernoff_term(generator):
    """KL of p to the normalized geometric mean of the kernels, minus the log of that mean's mass (theory 2.6)."""
    problem = LOSS_SUM.example(generator)
    q_1, q_2 = (term.q(problem["z"]).log_at(None, slice(0, 16)) for term in LOSS_SUM.terms)
    geometric = 0.8 * q_1 + 0.2 * q_2
    p = Positives()(problem["image"])
    chernoff = -geometric.logsumexp(1)
    assert (chernoff > 0).all()
    expected = (kl(p, Dense(geometric, p.candidates)) + chernoff).mean()
    torch.testing.assert_close(LOSS_SUM.loss(problem), expected, rtol=1e-12, atol=0)


def test_the_two_sums_differ(generator):
    problem = LOSS_SUM.example(generator)
    assert abs(KERNEL_SUM.loss(problem) - LOSS_SUM.loss(problem)) > 1e-3
