"""The mutual-information family over a memory bank: IR, LA, BALL, ANN and VINCE (theory 2.5)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from torchicon.candidates import Anneal, annulus, ball, draw, intersection
from torchicon.core import Kernel, Sparse
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import Claim, EqualLoss, EqualUpTo
from torchicon.methods.method import Method
from torchicon.neighborhoods import Cosine, Labels, NoiseContrast, condition, within

OMEGA = 0.07
SIZE = 12  # of the balls
ITERATIONS = 100
_NEGATIVES = 6
_DRAWN_FROM = 16  # the hardest columns of the bank, the own one among them

_MAPPER = "encoder and projection head; bank rows M[i] ← rate M[i] + (1 - rate) z_i, divided by their length"
_P = "p(j|i) = 1[j = i]"
_BOUND = "log |B| - loss bounds the mutual information if B holds the anchor's highest scores; around M_i it may not"
_CEILING = "log M - loss is at most log M, for M candidates; without i among them it would have no ceiling"
_Q = "q(j|i) ∝ exp(cos(z_i, M_j) / ω)"


def softmax(z: Tensor, bank: Tensor, *, temperature: float = OMEGA) -> Kernel:
    """q over the whole bank."""
    return Cosine(temperature)(z, bank)


def own_row(index: Tensor, bank: Tensor) -> Sparse:
    """p: an anchor's own row of the bank."""
    return Labels(len(bank))(index)


def balls(
    bank: Tensor, index: Tensor, iteration: Tensor | None = None, *, size: int = SIZE, iterations: int = ITERATIONS
) -> Sparse:
    """B: the rows nearest to the anchor's own one; ``size`` of them, or so many as the schedule says."""
    count = size if iteration is None else Anneal(len(bank), size, iterations)(int(iteration))
    return ball(bank[index], bank, count, own=index)


def in_ball(z: Tensor, bank: Tensor, index: Tensor, *, size: int = SIZE, temperature: float = OMEGA) -> Sparse:
    """q among the members of B."""
    return within(softmax(z, bank, temperature=temperature), balls(bank, index, size=size))


def in_shrinking_ball(
    z: Tensor,
    bank: Tensor,
    index: Tensor,
    iteration: Tensor,
    *,
    size: int = SIZE,
    iterations: int = ITERATIONS,
    temperature: float = OMEGA,
) -> Sparse:
    """q among the members of B, which shrinks in the first half of training."""
    close = balls(bank, index, iteration, size=size, iterations=iterations)
    return within(softmax(z, bank, temperature=temperature), close)


def in_annulus(
    z: Tensor, bank: Tensor, index: Tensor, cluster: Tensor, *, size: int = SIZE, temperature: float = OMEGA
) -> Sparse:
    """q among the anchor's own row and the members of B that are not in its clusters."""
    close = balls(bank, index, size=size)
    return within(softmax(z, bank, temperature=temperature), annulus(close, cluster, index))


def in_shrinking_annulus(
    z: Tensor,
    bank: Tensor,
    index: Tensor,
    cluster: Tensor,
    iteration: Tensor,
    *,
    size: int = SIZE,
    iterations: int = ITERATIONS,
    temperature: float = OMEGA,
) -> Sparse:
    """The same with a B that shrinks."""
    close = balls(bank, index, iteration, size=size, iterations=iterations)
    return within(softmax(z, bank, temperature=temperature), annulus(close, cluster, index))


def _instance(
    name: str,
    key: str,
    *,
    q: Callable[..., Sparse | Kernel],
    candidates: str,
    oracle: str,
    constants: str,
    claim: Claim | None = None,
) -> Method:
    """A row whose positive is the anchor's own row of the bank."""
    return Method(
        name=name,
        cell=("Positive pairs", "Gaussian"),
        citation=reference(key),
        p=own_row,
        q=q,
        p_equation=_P,
        q_equation=_Q,
        mapper=_MAPPER,
        candidates=candidates,
        constants=constants,
        oracle=oracle,
        claim=EqualLoss() if claim is None else claim,
        example=problems.remembered,
    )


IR = _instance(
    "IR (InfoNCE)",
    "wu2018unsupervised",
    q=softmax,
    candidates="all rows of the bank, own included",
    oracle="ir_infonce",
    constants="log N - loss is the InfoNCE bound on the mutual information",
)

IR_NCE = Method(
    name="IR (NCE)",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("wu2018unsupervised"),
    p=lambda sampled: NoiseContrast.truth(sampled),
    q=lambda z, bank, index, sampled, temperature=OMEGA, kappa=NoiseContrast.kappa: NoiseContrast(temperature, kappa)(
        z, bank, index, sampled
    ),
    weights=lambda z, sampled: z.new_full((sampled.numel() + len(z),), 1 / len(z)),
    p_equation="p(data|draw) = 1 for the own row, 0 for the k rows of noise",
    q_equation="q(data|draw j) = sigmoid(cos(z_i, M_j) / ω - log κk)",
    mapper=_MAPPER,
    candidates="{data, noise}, for the own row and each of k draws; Z = κN, so that N cancels",
    oracle="ir_nce",
    claim=EqualLoss(),
    example=problems.remembered,
    constants="summed over the draws, a mean over the samples; κ = 2876934.2 / 1281167",
)

LA = Method(
    name="LA",
    cell=("kNN", "Gaussian"),
    citation=reference("zhuang2019local"),
    p=lambda z, bank, index, cluster, size=SIZE, temperature=OMEGA: condition(
        softmax(z, bank, temperature=temperature), intersection(balls(bank, index, size=size), cluster, index)
    ),
    q=in_ball,
    p_equation="p(j|i) = q(j|i) / q(C∩B|i) for j in C∩B: of all p on C∩B the one that makes the KL smallest",
    q_equation=_Q,
    mapper=_MAPPER,
    candidates="B: the rows nearest to M_i; C: the union of i's k-means clusters over several runs",
    oracle="la",
    claim=EqualLoss(),
    example=problems.remembered,
    constants="KL(p||q) = -log q(C∩B): p is learned, and at the minimum its gradient is zero",
)

LA0 = _instance(
    "LA0",
    "wu2020mutual",
    q=in_ball,
    candidates="B: the rows nearest to M_i, own enforced",
    oracle="ratio_of_softmaxes",
    constants="LA with C∩B = {i}, which is BALL; LA's loss is never larger",
)

BALL = _instance(
    "BALL",
    "wu2020mutual",
    q=in_ball,
    candidates="B: the rows nearest to M_i, own enforced",
    oracle="ball",
    constants=_BOUND,
)

ANN = _instance(
    "ANN",
    "wu2020mutual",
    q=in_annulus,
    candidates="{i} ∪ (B - C): the own row, and the near ones outside of its k-means clusters",
    oracle="ann",
    constants=_CEILING,
)

BALL_PLUS = _instance(
    "BALL+",
    "wu2020mutual",
    q=in_shrinking_ball,
    candidates="B, shrinking from the whole bank over the first half of training (our schedule)",
    oracle="ball_plus",
    constants=_BOUND,
)

ANN_PLUS = _instance(
    "ANN+",
    "wu2020mutual",
    q=in_shrinking_annulus,
    candidates="{i} ∪ (B - C), B shrinking from the whole bank over the first half of training (our schedule)",
    oracle="ann_plus",
    constants=_CEILING,
)

VINCE = _instance(
    "VINCE",
    "wu2020mutual",
    q=lambda z, bank, index, seed, temperature=OMEGA, drawn_from=_DRAWN_FROM, negatives=_NEGATIVES: within(
        softmax(z, bank, temperature=temperature),
        draw(
            ball(torch.nn.functional.normalize(z.detach(), dim=1), bank, drawn_from, own=index),
            negatives,
            own=index,
            generator=Generator().manual_seed(int(seed)),
        ),
    ),
    candidates="the own row and K - 1 others, drawn from those with the highest score",
    oracle="vince",
    claim=EqualUpTo(-1.0, lambda _: math.log(1 + _NEGATIVES)),
    constants="I_VINCE = log K - loss",
)

ROWS = (IR, IR_NCE, LA, LA0, BALL, ANN, BALL_PLUS, ANN_PLUS, VINCE)
