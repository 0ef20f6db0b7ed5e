"""CRLC: clustering by mutual information across views (theory 2.4).

L = L_PC - λ1 H(Q̄) + λ2 L_FC: InfoNCE on cluster probabilities with one of four critics, the entropy of the mean
probabilities, and SimCLR on a second head. L_PC alone is four rows; the others show the whole and its variants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchicon.core import Candidates, Dense, Rows, Sparse
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss, EqualUpTo
from torchicon.methods.method import Method, Term
from torchicon.methods.problems import Problem
from torchicon.neighborhoods import (
    KNN,
    Clusters,
    Cosine,
    Dot,
    Gaussian,
    JensenShannon,
    LogDot,
    Pairs,
    Positives,
    smooth_probabilities,
    within,
)
from torchicon.neighborhoods.recipe import KernelRecipe

# The smoothing 0.01 and λ2 = 10 are the paper's; λ1 and λ3 are our choice.
_SMOOTHING, _ENTROPY, _FEATURES, _LABELED = 0.01, 1.0, 10.0, 1.0
_NEIGHBORS = 3  # the example's
_SUBHEADS = 10  # the paper's

_PAIRS = "p(j|i) = 1[j is the other view of i]"
_LOG_DOT = "q(j|i) ∝ φ̃_i · φ̃_j, φ̃ = (1-γ) softmax(z) + γ/C"
_OTHERS = "the other 2B - 1 views of the batch"
_EVEN_CONSTANT = "-λ1 H(Q̄) = λ1 (KL(Q̄||uniform) - log C)"


def _smooth(logits: Tensor, smoothing: float) -> Tensor:
    return smooth_probabilities(logits.softmax(-1), smoothing)


def _critic(name: str, score: KernelRecipe, q_equation: str, oracle: str, constants: str = "none") -> Method:
    """L_PC by itself, in the official form: 2B views, self masked, both directions."""
    return Method(
        name=f"CRLC, {name} critic",
        cell=("Positive pairs", "Clusters"),
        citation=reference("do2021clustering"),
        p=lambda image: Positives()(image),
        q=lambda logits, smoothing=_SMOOTHING: score(_smooth(logits, smoothing)),
        p_equation=_PAIRS,
        q_equation=q_equation,
        mapper="encoder and cluster head",
        candidates=_OTHERS,
        learns=("logits",),
        oracle=oracle,
        claim=EqualLoss(),
        example=problems.clustered_views,
        constants=constants,
    )


CRITICS = (
    _critic("log-dot", LogDot(), _LOG_DOT, "crlc_log_dot"),
    _critic("dot", Dot(), "q(j|i) ∝ exp(φ̃_i · φ̃_j)", "crlc_dot"),
    _critic("squared-distance", Gaussian(math.sqrt(0.5)), "q(j|i) ∝ exp(-|φ̃_i - φ̃_j|²)", "crlc_squared_distance"),
    _critic("Jensen-Shannon", JensenShannon(), "q(j|i) ∝ exp(-JSD(φ̃_i, φ̃_j)), in nats", "crlc_jensen_shannon"),
)


def _across(own: int) -> Callable[..., Rows]:
    """One view's rows over all rows of the other view."""

    def q(logits: Tensor, *, smoothing: float = _SMOOTHING) -> Rows:
        views = _smooth(logits, smoothing).chunk(2)
        return Clusters("point")(views[own], views[1 - own], candidates=Candidates.all(len(views[0]), "other view"))

    return q


def _same_image(logits: Tensor) -> Rows:
    half = len(logits) // 2
    return Pairs()(half, candidates=Candidates.all(half, "other view"), device=logits.device)


ACROSS_VIEWS = Method(
    name="CRLC, log-dot critic (across views)",
    cell=("Positive pairs", "Clusters"),
    citation=reference("do2021clustering"),
    p=_same_image,
    q=_across(0),
    factor=0.5,
    others=(Term(p=_same_image, q=_across(1), factor=0.5),),
    p_equation=_PAIRS,
    q_equation="q(j|i) = φ̃_i · φ̃_j / Σ_k φ̃_i · φ̃_k over the other view",
    mapper="encoder and cluster head",
    candidates="the B views of the other kind: the paper's form (7), the positive and B - 1 more for each anchor",
    learns=("logits",),
    oracle="crlc_across_views",
    claim=EqualLoss(),
    example=problems.clustered_views,
    constants="none; the log-dot critic is by-point clustering",
)


def _clusters(logits: Tensor) -> Candidates:
    return Candidates.all(logits.shape[1], "clusters")


def _even(views: int, *, head: int | None = None, factor: float = 1.0) -> Term:
    """The bonus -λ1 H(Q̄), up to its constant: the reverse KL from each view's mean probabilities to the uniform."""

    def uniform(logits: Tensor) -> Rows:
        return Dense(logits.new_zeros(views, logits.shape[1]), _clusters(logits))

    def means(logits: Tensor) -> Rows:
        mean = torch.stack([view.softmax(1).mean(0) for view in logits.chunk(views)])
        return Dense.from_weights(mean, _clusters(logits))

    p, q = (uniform, means) if head is None else (_of_head(uniform, head), _of_head(means, head))
    return Term(p=p, q=q, direction="reverse", factor=lambda entropy_weight=_ENTROPY: factor * entropy_weight)


def _of_head(function: Callable[[Tensor], Rows], head: int) -> Callable[..., Rows]:
    def of(subheads: Tensor) -> Rows:
        if len(subheads) != _SUBHEADS:
            raise ValueError(f"The row has {_SUBHEADS} heads, as the paper, got logits of {len(subheads)}.")
        return function(subheads[head])

    return of


def _entropy_constant(problem: Problem, heads: str = "logits") -> float:
    return -_ENTROPY * math.log(problem[heads].shape[-1])


_FEATURE_TERM = Term(
    p=lambda image: Positives()(image),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    factor=lambda feature_weight=_FEATURES: feature_weight,
)


def _whole(name: str, oracle: str, constants: str, others: Sequence[Term]) -> Method:
    return Method(
        name=name,
        cell=("Positive pairs", "Clusters"),
        citation=reference("do2021clustering"),
        p=lambda image: Positives()(image),
        q=lambda logits, smoothing=_SMOOTHING: LogDot()(_smooth(logits, smoothing)),
        others=(_even(2), _FEATURE_TERM, *others),
        p_equation=_PAIRS,
        q_equation=f"{_LOG_DOT}; and q(j|i) ∝ exp(cos(f_i, f_j) / 0.1) of features f",
        mapper="encoder with a cluster head and a representation head",
        candidates=_OTHERS,
        learns=("logits", "z"),
        oracle=oracle,
        claim=EqualUpTo(1.0, _entropy_constant),
        example=problems.clustered_views,
        constants=constants,
    )


def _known(label: Tensor, logits: Tensor) -> Rows:
    """One-hot rows of the labeled; the others, with label -1, are empty and drop out of the mean."""
    anchor = (label >= 0).nonzero()[:, 0]
    return Sparse.from_edges(anchor, label[anchor], n=len(label), candidates=_clusters(logits))


CRLC = _whole("CRLC", "crlc", f"{_EVEN_CONSTANT}; γ = 0.01 in L_PC only; λ1 = 1, λ2 = 10", ())
SEMI_SUPERVISED = _whole(
    "CRLC, semi-supervised",
    "crlc_semi",
    f"{_EVEN_CONSTANT}; λ3 = 1 times the mean cross-entropy of the labeled",
    (
        Term(
            p=_known,
            q=lambda logits: Dense(logits, _clusters(logits)),
            factor=lambda labeled_weight=_LABELED: labeled_weight,
        ),
    ),
)


def _own_row(index: Tensor, bank: Tensor) -> Rows:
    return Sparse.from_neighbors(index[:, None], candidates=Candidates.all(len(bank), "bank"))


def _among_sampled(
    logits: Tensor, bank: Tensor, index: Tensor, sampled: Tensor, *, smoothing: float = _SMOOTHING
) -> Rows:
    candidates = Candidates.all(len(bank), "bank")
    q = LogDot()(_smooth(logits, smoothing), smooth_probabilities(bank, smoothing), candidates=candidates)
    return within(q, Sparse.from_neighbors(torch.cat([index[:, None], sampled], 1), candidates=candidates))


MEMORY_BANK = Method(
    name="CRLC, memory bank",
    cell=("Positive pairs", "Clusters"),
    citation=reference("do2021clustering"),
    p=_own_row,
    q=_among_sampled,
    others=(_even(1),),
    p_equation="p(j|i) = 1[j is i's row of the bank]",
    q_equation=f"{_LOG_DOT}, φ_j of the bank",
    mapper="encoder and cluster head; rows of the bank are φ ← α φ + (1-α) softmax(z), α = 0.5",
    candidates="rows of the N × C bank: the own one and others drawn uniformly",
    learns=("logits",),
    oracle="crlc_bank",
    claim=EqualUpTo(1.0, _entropy_constant),
    example=problems.clustered_bank,
    constants=f"{_EVEN_CONSTANT}; λ2 L_FC as in CRLC",
)

TWO_STAGE = Method(
    name="CRLC, two-stage",
    cell=("kNN", "Clusters"),
    citation=reference("do2021clustering"),
    p=lambda x, k=_NEIGHBORS: KNN(k, "cosine")(x),
    q=lambda logits, smoothing=_SMOOTHING: LogDot()(_smooth(logits, smoothing)),
    others=(_even(1),),
    p_equation="p(j|i) = 1[j in kNN(i)] / k, cosine neighbors of the first stage's features",
    q_equation=_LOG_DOT,
    mapper="cluster head on the features that SimCLR learned first",
    candidates="the other points",
    learns=("logits",),
    oracle="crlc_two_stage",
    claim=EqualUpTo(1.0, lambda problem: math.log(_NEIGHBORS) + _entropy_constant(problem)),
    example=problems.assigned,
    constants=f"mean loss over the neighbor that is drawn = KL + log k; {_EVEN_CONSTANT}",
)


def _head_terms(head: int) -> tuple[Term, Term]:
    share = 1 / _SUBHEADS
    contrast = Term(
        p=lambda image: Positives()(image),
        q=lambda subheads, smoothing=_SMOOTHING: LogDot()(_smooth(subheads[head], smoothing)),
        factor=share,
    )
    return contrast, _even(2, head=head, factor=share)


_FIRST, *_REST = (term for head in range(_SUBHEADS) for term in _head_terms(head))

SUB_HEADS = Method(
    name="CRLC, sub-heads",
    cell=("Positive pairs", "Clusters"),
    citation=reference("do2021clustering"),
    p=_FIRST.p,
    q=_FIRST.q,
    factor=_FIRST.factor,
    others=tuple(_REST),
    p_equation=_PAIRS,
    q_equation=f"{_LOG_DOT}, of each head",
    mapper="encoder and several cluster heads",
    candidates=_OTHERS,
    learns=("subheads",),
    oracle="crlc_sub_heads",
    claim=EqualUpTo(1.0, lambda problem: _entropy_constant(problem, "subheads")),
    example=problems.clustered_views,
    constants=f"mean of L_PC - λ1 H(Q̄) over the paper's 10 heads; {_EVEN_CONSTANT}",
)

ROWS = (CRLC, *CRITICS, ACROSS_VIEWS, MEMORY_BANK, TWO_STAGE, SUB_HEADS, SEMI_SUPERVISED)
