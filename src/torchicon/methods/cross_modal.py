"""Two modalities: CLIP, CMC, LaCLIP and t-CLIP (theory 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.core import Candidates, Kernel, Sparse
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method, Term
from torchicon.neighborhoods import Cosine, Pairs, StudentT

_OTHER_MODALITY = "the other modality only: all texts for an image, all images for a text"


def own(z: Tensor, of: str) -> Sparse:
    """Row i belongs to column i of the other modality."""
    return Pairs()(len(z), candidates=Candidates.all(len(z), of), device=z.device)


def among(recipe: Cosine | StudentT, anchors: Tensor, keys: Tensor, of: str) -> Kernel:
    """All of the other modality as candidates."""
    return recipe(anchors, keys, candidates=Candidates.all(len(keys), of))


def _drawn(rewrites: Tensor, drawn: Tensor) -> Tensor:
    return rewrites[torch.arange(len(rewrites), device=rewrites.device), drawn]


CLIP = Method(
    name="CLIP",
    cell=("Cross-modal", "Gaussian"),
    citation=reference("radford2021learning"),
    p=lambda z: own(z, "texts"),
    q=lambda z, text, log_scale: among(Cosine((-log_scale).exp()), z, text, "texts"),
    factor=0.5,
    others=(
        Term(
            p=lambda text: own(text, "images"),
            q=lambda z, text, log_scale: among(Cosine((-log_scale).exp()), text, z, "images"),
            factor=0.5,
        ),
    ),
    p_equation="p(j|i) = 1[text j belongs to image i], and the same from texts to images",
    q_equation="q(j|i) ∝ exp(scale · cos(z_i, t_j)), and the same from texts to images",
    mapper="an encoder for each modality; the scale is learned by its logarithm",
    candidates=_OTHER_MODALITY,
    constants="half of either direction: the mean over all 2N anchors",
    oracle="clip",
    claim=EqualLoss(),
    example=problems.scaled_pairs,
    learns=("z", "text", "log_scale"),
)

CMC = Method(
    name="CMC (in batch)",
    cell=("Cross-modal", "Gaussian"),
    citation=reference("tian2020contrastive"),
    p=lambda z: own(z, "texts"),
    q=lambda z, text, temperature=0.07: among(Cosine(temperature), z, text, "texts"),
    others=(
        Term(
            p=lambda text: own(text, "images"),
            q=lambda z, text, temperature=0.07: among(Cosine(temperature), text, z, "images"),
        ),
    ),
    p_equation="p(j|i) = 1[j is the second view of i], and the same in return",
    q_equation="q(j|i) ∝ exp(cos(z_i, t_j) / τ), and the same in return",
    mapper="an encoder for each view",
    candidates="the batch as the other view shows it; the paper's memory bank is a row of its own",
    constants="the sum of both directions: twice CLIP's loss at one temperature",
    oracle="cmc",
    claim=EqualLoss(),
    example=problems.pairs,
    learns=("z", "text"),
)

LACLIP = Method(
    name="LaCLIP",
    cell=("Cross-modal", "Gaussian"),
    citation=reference("fan2023improving"),
    p=lambda z: own(z, "texts"),
    q=lambda z, rewrites, drawn, log_scale: among(Cosine((-log_scale).exp()), z, _drawn(rewrites, drawn), "texts"),
    factor=0.5,
    others=(
        Term(
            p=lambda z: own(z, "images"),
            q=lambda z, rewrites, drawn, log_scale: among(
                Cosine((-log_scale).exp()), _drawn(rewrites, drawn), z, "images"
            ),
            factor=0.5,
        ),
    ),
    p_equation="p(j|i) = 1[text j was rewritten from image i's], and the same from texts to images",
    q_equation="q(j|i) ∝ exp(scale · cos(z_i, t_j)), t_j a rewrite of text j drawn anew for each batch",
    mapper="an encoder for each modality; the scale is learned by its logarithm",
    candidates=_OTHER_MODALITY,
    constants="half of either direction, as in the authors' code; the paper prints the one from images",
    oracle="laclip",
    claim=EqualLoss(),
    example=problems.rewritten_pairs,
    learns=("z", "rewrites", "log_scale"),
)

TCLIP = Method(
    name="t-CLIP",
    cell=("Cross-modal", "Student-t"),
    gap=True,
    citation=reference("alshammari2025icon"),
    p=lambda z: own(z, "texts"),
    q=lambda z, text: among(StudentT(), z, text, "texts"),
    factor=0.5,
    others=(
        Term(
            p=lambda text: own(text, "images"),
            q=lambda z, text: among(StudentT(), text, z, "images"),
            factor=0.5,
        ),
    ),
    p_equation="p(j|i) = 1[text j belongs to image i], and the same from texts to images",
    q_equation="q(j|i) ∝ 1 / (1 + ‖z_i - t_j‖²), and the same from texts to images",
    mapper="an encoder for each modality, not normalized",
    candidates=_OTHER_MODALITY,
    constants="half of either direction, as CLIP's",
    oracle="t_clip",
    claim=EqualLoss(),
    example=problems.pairs,
    learns=("z", "text"),
)

ROWS = (CLIP, CMC, LACLIP, TCLIP)
