"""Cross-modal rows: planted errors, and relations between the rows."""

import math

import pytest
import torch
from tests.methods.mutation import survives
from torch.nn import functional as F

from torchicon.core import Candidates, CandidatesError, Sparse, kl
from torchicon.methods import find
from torchicon.neighborhoods import Cosine, StudentT

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def among(recipe, anchors, keys):
    return recipe(anchors, keys, candidates=Candidates.all(len(keys), "texts"))


def shifted(z):
    return Sparse.from_neighbors(torch.arange(len(z)).roll(1)[:, None], candidates=Candidates.all(len(z), "texts"))


def row(index):
    """LaCLIP with one rewrite for all texts."""
    return lambda z, rewrites, log_scale: among(Cosine((-log_scale).exp()), z, rewrites[:, index])


MUTANTS = {
    "CLIP, scale inverted": ("CLIP", {"q": lambda z, text, log_scale: among(Cosine(log_scale.exp()), z, text)}),
    "CLIP, scale without a gradient": (
        "CLIP",
        {"q": lambda z, text, log_scale: among(Cosine((-log_scale.detach()).exp()), z, text)},
    ),
    "CLIP, images only": ("CLIP", {"others": (), "factor": 1.0}),
    "CLIP, the same direction twice": (
        "CLIP",
        {"q": lambda z, text, log_scale: among(Cosine((-log_scale).exp()), text, z)},
    ),
    "CLIP, factor dropped": ("CLIP", {"factor": 1.0}),
    "CLIP, texts do not learn": (
        "CLIP",
        {"q": lambda z, text, log_scale: among(Cosine((-log_scale).exp()), z, text.detach())},
    ),
    "CMC, halved": ("CMC (in batch)", {"factor": 0.5}),
    "CMC, wrong temperature": ("CMC (in batch)", {"q": lambda z, text: among(Cosine(0.1), z, text)}),
    "CMC, candidates of its own view": ("CMC (in batch)", {"q": lambda z: among(Cosine(0.07), z, z)}),
    "LaCLIP, always the first rewrite": ("LaCLIP", {"q": row(0)}),
    "LaCLIP, mean of rewrites": (
        "LaCLIP",
        {"q": lambda z, rewrites, log_scale: among(Cosine((-log_scale).exp()), z, rewrites.mean(1))},
    ),
    "LaCLIP, images only": ("LaCLIP", {"others": (), "factor": 1.0}),
    "t-CLIP, normalized": (
        "t-CLIP",
        {"q": lambda z, text: among(StudentT(), F.normalize(z, dim=1), F.normalize(text, dim=1))},
    ),
    "t-CLIP, wrong scale": ("t-CLIP", {"q": lambda z, text: among(StudentT(scale=math.sqrt(0.5)), z, text)}),
    "t-CLIP, other pairs": ("t-CLIP", {"p": shifted}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_cmc_is_twice_clip(generator):
    """At one temperature (theory 2.2)."""
    clip, cmc = find("CLIP"), find("CMC (in batch)")
    problem = {**clip.example(generator), "log_scale": torch.tensor(-math.log(0.07), dtype=torch.float64)}
    torch.testing.assert_close(cmc.loss(problem), 2 * clip.loss(problem), **EXACT)


def test_laclip_is_clip_of_the_drawn_texts(generator):
    """What is not drawn is not learned."""
    laclip, clip = find("LaCLIP"), find("CLIP")
    problem = laclip.example(generator)
    rewrites = problem["rewrites"].requires_grad_()
    drawn = torch.zeros(rewrites.shape[:2], dtype=torch.bool)
    drawn[torch.arange(len(drawn)), problem["drawn"]] = True
    loss = laclip.loss(problem)
    torch.testing.assert_close(loss, clip.loss({**problem, "text": rewrites[drawn]}), **EXACT)
    [gradient] = torch.autograd.grad(loss, rewrites)
    assert torch.equal(gradient.abs().sum(2) > 0, drawn)


def test_two_modalities_of_one_size_are_not_mixed_up():
    """Texts for images and images for texts are different columns, and the core refuses to compare them."""
    clip = find("CLIP")
    problem = clip.example(torch.Generator().manual_seed(0))
    (p, _), (_, q) = (term.neighborhoods(problem) for term in clip.terms)
    with pytest.raises(CandidatesError, match=r"p ranges over .* texts.*, q over .* images"):
        kl(p, q)
