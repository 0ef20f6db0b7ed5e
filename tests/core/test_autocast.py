"""Under autocast features come in half precision; the equation is computed in float32 all the same."""

import math

import pytest
import torch

from torchicon.core import Candidates, Dense, both_wide, cross_entropy, entropy, joint_kl, kl, narrow, objective, wide
from torchicon.neighborhoods import (
    Classes,
    Clusters,
    ConcatenatedKernels,
    Cosine,
    Dot,
    Exponential,
    Gaussian,
    Harmonic,
    Labels,
    Pairs,
    Perplexity,
    PositiveOrRest,
    Positives,
    StudentT,
    SumOfKernels,
    debias,
    symmetrize,
    taught,
)

N = 24
GROUPS = torch.arange(N) // 2
PARTNERS = Positives()(GROUPS)


def _soft(z):
    """Cluster probabilities, which autocast leaves in half precision where torch has no rule for a softmax."""
    return z.float().softmax(1)


# The loss of features z (n, d); prototypes, banks and texts are parts of z or its flips.
LOSSES = {
    "cosine": lambda z: objective(PARTNERS, Cosine(0.1)(z)),
    "learned temperature": lambda z: objective(PARTNERS, Cosine(z.float().square().mean())(z)),
    "dot": lambda z: objective(PARTNERS, Dot(0.5)(z)),
    "gaussian": lambda z: objective(PARTNERS, Gaussian(0.7)(z)),
    "student": lambda z: objective(PARTNERS, StudentT(2.0)(z)),
    "exponential": lambda z: objective(PARTNERS, Exponential(1.0)(z)),
    "harmonic": lambda z: objective(PARTNERS, Harmonic(2)(z)),
    "sum": lambda z: objective(PARTNERS, SumOfKernels(Exponential(2.0), Exponential(1.0))(z)),
    "concatenated": lambda z: objective(PARTNERS, ConcatenatedKernels(Exponential(2.0), Exponential(1.0))(z)),
    "other keys": lambda z: objective(Pairs()(N), Cosine(0.1)(z, z.flip(1))),
    "prototypes": lambda z: objective(Labels(4)(GROUPS % 4), Dot()(z, z[:4])),
    "kernel p": lambda z: kl(Gaussian(1.0)(z.detach()), StudentT()(z)).mean(),
    "perplexity": lambda z: objective(Gaussian(Perplexity(5.0))(z.detach()), StudentT()(z)),
    "debiased q": lambda z: objective(PARTNERS, debias(Cosine(0.1)(z), 0.1)),
    "debiased p": lambda z: objective(debias(PARTNERS, 0.1), Cosine(0.1)(z)),
    "debiased p, radial": lambda z: objective(debias(PARTNERS, 0.1), Gaussian()(z)),
    "debiased both": lambda z: objective(debias(PARTNERS, 0.2), debias(StudentT()(z), 0.1)),
    "clusters": lambda z: objective(Classes()(GROUPS), Clusters()(_soft(z))),
    "clusters by point": lambda z: objective(Classes()(GROUPS), Clusters("point")(_soft(z))),
    "clusters debiased": lambda z: objective(debias(Classes()(GROUPS), 0.1), debias(Clusters()(_soft(z)), 0.1)),
    "clusters reverse": lambda z: objective(debias(Classes()(GROUPS), 0.1), Clusters()(_soft(z)), direction="reverse"),
    "clusters of kernel": lambda z: objective(Cosine()(z.detach(), z.detach()), Clusters()(_soft(z))),
    "dense": lambda z: objective(PARTNERS, Dense(z.float()[:, :1] - z.float()[:, 0], Candidates.others(N))),
    "joint": lambda z: joint_kl(symmetrize(PARTNERS), StudentT()(z)),
    "cross-entropy": lambda z: cross_entropy(PARTNERS, Cosine()(z)).mean(),
    "entropy": lambda z: entropy(Clusters()(_soft(z))).mean(),
    "wide": lambda z: objective(PARTNERS, Cosine()(z), divergence=wide),
    "narrow": lambda z: objective(PARTNERS, Cosine()(z), divergence=narrow),
    "both wide": lambda z: objective(Gaussian()(z.detach()), StudentT()(z), divergence=both_wide),
    "taught kernel": lambda z: objective(PARTNERS, taught(Cosine()(z), Cosine()(z.flip(0)))),
    "taught clusters": lambda z: objective(
        Classes()(GROUPS), taught(Clusters("point")(_soft(z)), Clusters("point")(_soft(z.flip(0))))
    ),
    "k-means": lambda z: objective(
        Gaussian()(z, z), Clusters()(_soft(z)), direction="reverse", divergence=cross_entropy
    ),
    "sharp": lambda z: objective(PARTNERS, Cosine(1e-3)(z)),
    "debiased contrastive": lambda z: objective(
        Labels(2)(torch.zeros(N, dtype=torch.long)), PositiveOrRest(0.5, prior=0.1)(z, PARTNERS)
    ),
}


def test_info_nce_is_that_of_float64(generator):
    """Of the same half precision features, by torch.nn.functional; a log-sum-exp in bfloat16 would be off by 1e-2."""
    z = torch.randn(N, 8, generator=generator).bfloat16()
    unit = torch.nn.functional.normalize(z.double())
    scores = (unit @ unit.T / 0.1).fill_diagonal_(-math.inf)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(PARTNERS, Cosine(0.1)(z))
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(N) ^ 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0.0)


def _value_and_gradient(loss, points, half, *, autocast):
    points = points.clone().requires_grad_()
    features = points.to(half)
    with torch.autocast("cpu", dtype=half, enabled=autocast):
        value = loss(features if autocast else features.float())
    value.backward()
    return value.detach(), points.grad


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_features_are_computed_with_in_float32(name, half, generator):
    """Value and gradient under autocast are those of the same features in float32, to float32's precision."""
    points = torch.randn(N, 8, generator=generator)
    value, gradient = _value_and_gradient(LOSSES[name], points, half, autocast=True)
    expected, expected_gradient = _value_and_gradient(LOSSES[name], points, half, autocast=False)
    assert value.dtype.itemsize >= 4
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        gradient, expected_gradient, rtol=0.0, atol=2 * torch.finfo(half).eps * float(expected_gradient.abs().max())
    )
