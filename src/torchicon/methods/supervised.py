"""Supervised learning: the candidates are classes, tokens or numbers (theory 2.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchicon.core import Candidates, Kernel, Rows, Sparse
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss, EqualUpTo
from torchicon.methods.method import Method
from torchicon.neighborhoods import Dot, Gaussian, Harmonic, Labels, debias

_CLASSES = 4  # the examples'
_SMOOTHING = 0.1
_SHARE = 0.01  # of the uniform part that keeps the error rate's KL finite
_LEAST, _MOST = -math.log(1 - _SHARE + _SHARE / _CLASSES), -math.log(_SHARE / _CLASSES)  # its KL: right, wrong
_SIGMA, _STEP = 0.4, 0.2  # of the kernel of squared error, and between points of its lattice
_NORMALIZER = math.log(math.sqrt(2 * math.pi) * _SIGMA / _STEP)  # of any anchor, to round-off (Poisson summation)


def one_hot(label: Tensor, prototypes: Tensor) -> Sparse:
    """Row i belongs to the column of its class; prototypes (c, e) have a row for each class."""
    return Labels(len(prototypes))(label, candidates=Candidates.all(len(prototypes), "classes"))


def _linear(z: Tensor, prototypes: Tensor, bias: Tensor, columns: str = "classes") -> Kernel:
    """A linear classifier as inner products: the bias is the weight of a constant 1."""
    constant = z.new_ones(len(z), 1)
    return Dot()(
        torch.cat([z, constant], dim=1),
        torch.cat([prototypes, bias[:, None]], dim=1),
        candidates=Candidates.all(len(prototypes), columns),
    )


def _tokens(anchor: Tensor, token: Tensor, n: int, vocabulary: Tensor) -> Sparse:
    """One-hot on its token for each of these anchors; the others of the n have an empty row."""
    return Sparse.from_edges(anchor, token, n=n, candidates=Candidates.all(len(vocabulary), "tokens"))


def _smoothed_entropy() -> float:
    p = torch.full((_CLASSES,), _SMOOTHING / _CLASSES, dtype=torch.float64)
    p[0] += 1 - _SMOOTHING
    return float(torch.special.entr(p).sum())


def _decided(z: Tensor, prototypes: Tensor, bias: Tensor) -> Rows:
    """The classifier's kernel once it is infinitely narrow, with a uniform share."""
    return debias(one_hot((z @ prototypes.T + bias).argmax(1), prototypes), _SHARE)


CROSS_ENTROPY = Method(
    name="Cross-entropy",
    cell=("Data-label", "Gaussian"),
    citation=reference("good1952rational"),
    p=lambda label, prototypes: one_hot(label, prototypes),
    q=lambda z, prototypes, bias: _linear(z, prototypes, bias),
    p_equation="p(c|i) = 1[c = y_i]",
    q_equation="q(c|i) ∝ exp(w_c · z_i + b_c)",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    oracle="cross_entropy",
    claim=EqualLoss(),
    example=problems.classified,
    learns=("z", "prototypes", "bias"),
)

LABEL_SMOOTHING = Method(
    name="Label smoothing",
    cell=("Data-label", "Gaussian"),
    citation=reference("szegedy2016rethinking"),
    p=lambda label, prototypes, smoothing=_SMOOTHING: debias(one_hot(label, prototypes), smoothing),
    q=lambda z, prototypes, bias: _linear(z, prototypes, bias),
    p_equation="p(c|i) = (1 - α) 1[c = y_i] + α / C: cross-entropy's p, debiased",
    q_equation="q(c|i) ∝ exp(w_c · z_i + b_c)",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    constants="loss = KL + H(p), and H(p) is a constant",
    oracle="label_smoothing",
    claim=EqualUpTo(1.0, lambda _: _smoothed_entropy()),
    example=problems.classified,
    learns=("z", "prototypes", "bias"),
)

MASKED_TOKEN = Method(
    name="Masked-token cross-entropy",
    cell=("Data-label", "Gaussian"),
    citation=reference("devlin2019bert"),
    p=lambda label, masked, prototypes: _tokens(masked.nonzero()[:, 0], label[masked], len(label), prototypes),
    q=lambda z, prototypes, bias: _linear(z, prototypes, bias, "tokens"),
    p_equation="p(v|i) = 1[v = token i] where token i is masked; a position that is not has no neighbor",
    q_equation="q(v|i) ∝ exp(w_v · z_i + b_v)",
    mapper="encoder of both sides' context, lookup table for tokens",
    candidates="the vocabulary",
    constants="none; the mean is over masked positions",
    oracle="masked_token",
    claim=EqualLoss(),
    example=problems.tokens,
    learns=("z", "prototypes", "bias"),
)

NEXT_TOKEN = Method(
    name="Next-token cross-entropy",
    cell=("Data-label", "Gaussian"),
    citation=reference("bengio2003neural"),
    p=lambda label, prototypes: _tokens(
        torch.arange(len(label) - 1, device=label.device), label[1:], len(label), prototypes
    ),
    q=lambda z, prototypes, bias: _linear(z, prototypes, bias, "tokens"),
    p_equation="p(v|i) = 1[v = token i + 1]; the last position has no neighbor",
    q_equation="q(v|i) ∝ exp(w_v · z_i + b_v)",
    mapper="encoder of the past, lookup table for tokens",
    candidates="the vocabulary",
    constants="none; the mean is over positions that have a next one",
    oracle="next_token",
    claim=EqualLoss(),
    example=problems.tokens,
    learns=("z", "prototypes", "bias"),
)

SQUARED_ERROR = Method(
    name="Squared error",
    cell=("Data-label", "Gaussian"),
    citation=reference("legendre1805nouvelles"),
    p=lambda lattice, target: Labels(len(lattice))(target, candidates=Candidates.all(len(lattice), "lattice points")),
    q=lambda z, lattice: Gaussian(_SIGMA)(z, lattice, candidates=Candidates.all(len(lattice), "lattice points")),
    p_equation="p(y|i) = 1[y = y_i]",
    q_equation="q(y|i) ∝ exp(-(z_i - y)² / 2σ²)",
    mapper="any regression",
    candidates="a lattice that stands for all numbers, those between its points left out: its normalizer is constant",
    constants="mean squared error = 2σ² (KL - log(√(2π) σ / step)), targets on the lattice",
    oracle="squared_error",
    claim=EqualUpTo(2 * _SIGMA**2, lambda _: -2 * _SIGMA**2 * _NORMALIZER),
    example=problems.on_line,
)

HARMONIC = Method(
    name="Harmonic loss",
    cell=("Data-label", "Student-t"),
    citation=reference("baek2025harmonic"),
    p=lambda label, prototypes: one_hot(label, prototypes),
    q=lambda z, prototypes, exponent=3.0: Harmonic(exponent)(
        z, prototypes, candidates=Candidates.all(len(prototypes), "classes")
    ),
    p_equation="p(c|i) = 1[c = y_i]",
    q_equation="q(c|i) ∝ ‖z_i - w_c‖^(-n): a Student-t with n - 1 degrees of freedom and a scale of 0",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    constants="none; n is the exponent of the distance, half of it that of its square, as the authors' code counts",
    oracle="harmonic",
    claim=EqualLoss(),
    example=problems.labeled,
    learns=("z", "prototypes"),
)

ERROR_RATE = Method(
    name="Error rate",
    cell=("Data-label", "Gaussian, narrow"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda label, prototypes: one_hot(label, prototypes),
    q=lambda z, prototypes, bias: _decided(z, prototypes, bias),
    p_equation="p(c|i) = 1[c = y_i]",
    q_equation="q(c|i) = (1 - ε) 1[c = argmax (w · z_i + b)] + ε / C: cross-entropy's q as σ → 0, debiased",
    mapper="encoder for data, lookup table for classes",
    candidates="the classes",
    constants="error rate = (KL - a) / (b - a), a = -log(1 - ε + ε/C), b = -log(ε/C), for any ε; no gradient",
    oracle="error_rate",
    claim=EqualUpTo(1 / (_MOST - _LEAST), lambda _: -_LEAST / (_MOST - _LEAST)),
    example=problems.classified,
    learns=("z", "prototypes", "bias"),
)

ROWS = (CROSS_ENTROPY, LABEL_SMOOTHING, MASKED_TOKEN, NEXT_TOKEN, SQUARED_ERROR, HARMONIC, ERROR_RATE)
