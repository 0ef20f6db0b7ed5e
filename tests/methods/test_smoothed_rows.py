"""What a smoothed row says of itself, and what cannot be smoothed."""

import math

import pytest
import torch

from torchicon.methods import Inspired, find, smoothed


def test_what_a_smoothed_row_says():
    method = smoothed(find("SimCLR"), debias_p=0.2, debias_q=0.6, walks=2, teacher=True)
    assert method.name == "SimCLR, p walked 2 steps, q taught, p debiased by 0.2, q debiased by 0.6"
    assert method.p_equation == "0.8 p + 0.2 / M with p: (P + ... + P^2) / 2 with P: " + find("SimCLR").p_equation
    assert method.q_equation.startswith("0.4 q + 0.6 / M with q: ")
    assert isinstance(method.claim, Inspired)
    assert method.cell == find("SimCLR").cell
    assert find("SimCLR").name == "SimCLR"


def test_nothing_to_smooth():
    assert smoothed(find("SimCLR")) is find("SimCLR")


def test_smoothed_again():
    """Wrapping twice is wrapping once with both."""
    once = smoothed(find("SimCLR"), debias_q=0.6, teacher=True)
    twice = smoothed(smoothed(find("SimCLR"), teacher=True), debias_q=0.6)
    problem = once.example(torch.Generator().manual_seed(7))
    torch.testing.assert_close(twice.loss(problem), once.loss(problem), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "how", "error", "message"),
    [
        ("PCA", {"debias_p": 0.1}, ValueError, "PCA is a limit of a divergence"),
        ("SNE", {"walks": 2}, TypeError, "a p of SNE is Kernel"),
        ("Cross-entropy", {"walks": 2}, ValueError, "as many anchors as candidates, got 20 and 4"),
        ("SupCon (in)", {"walks": 2}, ValueError, "learns p itself"),
        ("SupCon (in)", {"teacher": True}, ValueError, "learns p itself"),
        ("Cross-entropy", {"teacher": True}, ValueError, "prototypes and bias among the candidates only"),
        ("CRLC, memory bank", {"teacher": True}, TypeError, "A teacher stands on the candidates' side"),
        ("SimCLR", {"debias_p": 1.0}, ValueError, "strictly between 0 and 1, got 1"),
        ("SimCLR", {"debias_q": -0.1}, ValueError, "strictly between 0 and 1, got -0.1"),
        ("SimCLR", {"debias_q": math.nan}, ValueError, "strictly between 0 and 1, got nan"),
        ("SimCLR", {"walks": 0}, ValueError, "at least 1, got 0"),
    ],
)
def test_refusals(name, how, error, message):
    """At once, not in the first step of a training."""
    with pytest.raises(error, match=message):
        smoothed(find(name), **how)
