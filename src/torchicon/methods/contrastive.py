"""Contrastive learning in a batch, with positive pairs, captions or classes (theory 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from torchicon.core import Candidates, Kernel, Sparse
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss, EqualUpTo, Inspired
from torchicon.methods.method import Method, Term
from torchicon.methods.problems import Problem
from torchicon.neighborhoods import KNN, Cosine, Dot, Labels, Pairs, PositiveOrRest, Positives, StudentT, condition

_OTHERS = "the other 2B - 1 views of the batch"
_OUTCOMES = Candidates.all(2, "outcomes")
_MOCO_TEMPERATURE = 0.2
_STUDENT_SCALE = math.sqrt(0.5)


def _mean_log_positives(problem: Problem) -> float:
    label = problem["label"]
    positives = (label[:, None] == label).sum(1) - 1
    return float(positives[positives > 0].double().log().mean())


def _own_key(teacher: Tensor) -> Sparse:
    half = len(teacher) // 2
    return Pairs()(half, candidates=Candidates.all(half, "keys of the other view"), device=teacher.device)


def _among_keys(z: Tensor, teacher: Tensor, *, view: int, temperature: float) -> Kernel:
    """Queries of one view over the keys of the other."""
    queries, keys = z.chunk(2)[view], teacher.chunk(2)[1 - view]
    candidates = Candidates.all(len(keys), "keys of the other view")
    return Cosine(temperature)(queries, keys, candidates=candidates)


def _among_queue(z: Tensor, teacher: Tensor, queue: Tensor, temperature: float) -> Kernel:
    """Queries of the first view over their own key and the queue, as one table of keys.

    The own key is another for each anchor, and its score an anchor's feature of its own: column 0 takes that, and
    the others take the rest.
    """
    queries, keys, old = (normalize(x, dim=1) for x in (z.chunk(2)[0], teacher.chunk(2)[1], queue))
    own = (queries * keys).sum(1, keepdim=True)
    columns = torch.cat([old.new_zeros(1, old.shape[1]), old])
    is_own = torch.zeros_like(columns[:, :1])
    is_own[0] = 1
    candidates = Candidates.all(len(columns), "own key and queue")
    return Dot(temperature)(torch.cat([queries, own], 1), torch.cat([columns, is_own], 1), candidates=candidates)


def _own_first(z: Tensor, queue: Tensor) -> Sparse:
    candidates = Candidates.all(1 + len(queue), "own key and queue")
    return Labels(1 + len(queue))(torch.zeros(len(z) // 2, dtype=torch.long, device=z.device), candidates=candidates)


INFONCE = Method(
    name="InfoNCE",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("bachman2019learning"),
    p=lambda image: Positives()(image),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    p_equation="p(j|i) = 1[j is another view of i] / k",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other views of the batch, those of the same image among them",
    constants="loss = KL + log k, k the positives of an anchor",
    oracle="infonce",
    claim=EqualUpTo(1.0, lambda _: math.log(2)),  # three views: k = 2
    example=problems.more_views,
)

SIMCLR = Method(
    name="SimCLR",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("chen2020simple"),
    p=lambda image: Positives()(image),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates=_OTHERS,
    oracle="nt_xent",
    claim=EqualLoss(),
    example=problems.views,
)

MOCO = Method(
    name="MoCo",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("he2020momentum"),
    p=lambda z, queue: _own_first(z, queue),
    q=lambda z, teacher, queue, temperature=0.07: _among_queue(z, teacher, queue, temperature),
    p_equation="p(j|i) = 1[j is i's own key]",
    q_equation="q(j|i) ∝ exp(cos(z_i, k_j) / τ)",
    mapper="encoder and projection head; keys by an averaged encoder",
    candidates="the anchor's own key and the keys of the last batches, which carry no gradient",
    oracle="moco",
    claim=EqualLoss(),
    example=problems.queued_views,
)

MOCO_V3 = Method(
    name="MoCo v3",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("chen2021empirical"),
    p=lambda teacher: _own_key(teacher),
    q=lambda z, teacher, temperature=_MOCO_TEMPERATURE: _among_keys(z, teacher, view=0, temperature=temperature),
    factor=lambda temperature=_MOCO_TEMPERATURE: 2 * temperature,
    others=(
        Term(
            p=lambda teacher: _own_key(teacher),
            q=lambda z, teacher, temperature=_MOCO_TEMPERATURE: _among_keys(
                z, teacher, view=1, temperature=temperature
            ),
            factor=lambda temperature=_MOCO_TEMPERATURE: 2 * temperature,
        ),
    ),
    p_equation="p(j|i) = 1[key j is of the same image, in the other view]",
    q_equation="q(j|i) ∝ exp(cos(z_i, k_j) / τ)",
    mapper="encoder, projection head and predictor; keys by an averaged encoder without the predictor",
    candidates="the B keys of the other view, which carry no gradient",
    constants="a factor 2τ on either direction, as in the published pseudo-code",
    oracle="moco_v3",
    claim=EqualLoss(),
    example=problems.taught_views,
)

DEBIASED = Method(
    name="Debiased contrastive learning",
    cell=("Positive pairs", "Gaussian"),
    citation=reference("chuang2020debiased"),
    p=lambda image: Labels(2)(torch.zeros_like(image), candidates=_OUTCOMES),
    q=lambda z, image, temperature=0.5, prior=0.2: PositiveOrRest(temperature, prior=prior)(
        z, Positives()(image), candidates=_OUTCOMES
    ),
    p_equation="p(+|i) = 1",
    q_equation="q(+|i) = exp(s⁺) / (exp(s⁺) + N g), s = cos / t, "
    "g = max{(mean_u exp(s_u) - τ⁺ exp(s⁺)) / (1 - τ⁺), exp(-1/t)}",
    mapper="encoder and projection head",
    candidates="two: the other view, or any of N = 2B - 2 negatives, freed of an anchor's own class",
    constants="the estimate g is the paper's with one positive sample, v = the other view",
    oracle="debiased_contrastive",
    claim=EqualLoss(),
    example=problems.near_views,
)

X_SAMPLE = Method(
    name="X-Sample",
    cell=("Gaussian", "Gaussian"),
    citation=reference("sobal2025xsample"),
    p=lambda caption, target_temperature=0.1: Cosine(target_temperature)(caption),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    p_equation="p(j|i) ∝ exp(cos(c_i, c_j) / τ_s), c the captions' embeddings",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    constants="soft-target cross-entropy = KL + H(p)",
    claim=Inspired(
        "whether an anchor is among its own targets is not settled by a source; here it is in neither p nor q"
    ),
    example=problems.captioned,
)

LGSIMCLR = Method(
    name="LGSimCLR",
    cell=("kNN", "Gaussian"),
    citation=reference("elbanani2023learning"),
    p=lambda caption, k=1: KNN(k, metric="cosine")(caption),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    p_equation="p(j|i) = 1[caption j is the nearest to caption i]",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    constants="none; the paper looks for the nearest caption in all data and puts that image in the batch",
    oracle="language_guided",
    claim=EqualLoss(),
    example=problems.captioned,
)

TSIMCLR = Method(
    name="t-SimCLR",
    cell=("Positive pairs", "Student-t"),
    citation=reference("hu2023your"),
    p=lambda image: Positives()(image),
    q=lambda z, df=5.0, scale=_STUDENT_SCALE: StudentT(df, scale=scale)(z),
    weights="joint",
    p_equation="P_ij = 1[j is the other view of i] / 2B",
    q_equation="Q_ij ∝ (1 + ‖z_i - z_j‖² / ντ)^(-(ν+1)/2) over all pairs",
    mapper="encoder and projection head, not normalized",
    candidates="all ordered pairs of different views, together",
    constants="loss = KL + log 2B; scale s² = τ, as in the authors' code",
    oracle="t_simclr",
    claim=EqualUpTo(1.0, lambda problem: math.log(len(problem["image"]))),
    example=problems.views,
)

TSIMCLR_ROW = Method(
    name="t-SimCLR (row)",
    cell=("Positive pairs", "Student-t"),
    citation=reference("hu2023your"),
    p=lambda image: Positives()(image),
    q=lambda z, df=5.0, scale=_STUDENT_SCALE: StudentT(df, scale=scale)(z),
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ (1 + ‖z_i - z_j‖² / ντ)^(-(ν+1)/2)",
    mapper="encoder and projection head, not normalized",
    candidates=_OTHERS,
    constants="each row normalized by itself, as I-Con's table and the authors' code for MoCo have it",
    oracle="t_simclr_row",
    claim=EqualLoss(),
    example=problems.views,
)

TSIMCNE = Method(
    name="t-SimCNE",
    cell=("Positive pairs", "Student-t"),
    citation=reference("bohm2023unsupervised"),
    p=lambda image: Positives()(image),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) = 1[j is the other view of i]",
    q_equation="q(j|i) ∝ 1 / (1 + ‖z_i - z_j‖²)",
    mapper="encoder and projection head to two dimensions, not normalized",
    candidates=_OTHERS,
    constants="none for the paper and its code of 2023; later code has 1 / (1 + 2d), the same map √2 times smaller",
    oracle="t_simcne",
    claim=EqualLoss(),
    example=problems.planar_views,
)

SUPCON = Method(
    name="SupCon",
    cell=("Classes", "Gaussian"),
    citation=reference("khosla2020supervised"),
    p=lambda label: Positives()(label),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] / |P(i)|",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    oracle="supcon_out",
    claim=EqualUpTo(1.0, _mean_log_positives),
    example=problems.classes,
    constants="L_out = KL + mean log |P(i)| over the anchors that have a positive; the paper prints the sum over them",
)

SUPCON_IN = Method(
    name="SupCon (in)",
    cell=("Classes", "Gaussian"),
    citation=reference("khosla2020supervised"),
    p=lambda z, label, temperature=0.1: condition(Cosine(temperature)(z), Positives()(label)),
    q=lambda z, temperature=0.1: Cosine(temperature)(z),
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] q(j|i) / Σ_{k ∈ P(i)} q(k|i): learned, the best p on the positives",
    q_equation="q(j|i) ∝ exp(cos(z_i, z_j) / τ)",
    mapper="encoder and projection head",
    candidates="the other members of the batch",
    constants="L_in = KL + mean log |P(i)| over the anchors that have a positive; the paper prints the sum over them",
    oracle="supcon_in",
    claim=EqualUpTo(1.0, _mean_log_positives),
    example=problems.classes,
)

TSUPCON = Method(
    name="t-SupCon",
    cell=("Classes", "Student-t"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda label: Positives()(label),
    q=lambda z: StudentT()(z),
    p_equation="p(j|i) = 1[y_j = y_i, j ≠ i] / |P(i)|",
    q_equation="q(j|i) ∝ 1 / (1 + ‖z_i - z_j‖²)",
    mapper="encoder and projection head, not normalized",
    candidates="the other members of the batch",
    constants="loss = KL + mean log |P(i)|, as SupCon's",
    oracle="t_supcon",
    claim=EqualUpTo(1.0, _mean_log_positives),
    example=problems.classes,
)

ROWS = (
    INFONCE,
    SIMCLR,
    MOCO,
    MOCO_V3,
    DEBIASED,
    X_SAMPLE,
    LGSIMCLR,
    TSIMCLR,
    TSIMCLR_ROW,
    TSIMCNE,
    SUPCON,
    SUPCON_IN,
    TSUPCON,
)
