"""Noise contrast is logistic regression of data against noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from torchicon.core import kl
from torchicon.neighborhoods import NoiseContrast

OWN, NOISE = torch.tensor([2, 0]), torch.tensor([[1, 4, 1], [3, 0, 2]])


@pytest.mark.parametrize("size", [5, 5_000_000])
def test_the_size_of_the_data_cancels(normal, size):
    """I1b: the posterior of Wu, Xiong et al. (2018), eq. 4, with Z = kappa N and noise 1 / N."""
    z, bank = normal(2, 3), normal(5, 3)
    contrast = NoiseContrast(temperature=0.5, kappa=2.5)
    q = contrast(z, bank, OWN, NOISE).dense()
    score = F.cosine_similarity(z[:, None], bank[None], dim=-1) / 0.5
    for i in range(2):
        for place, j in enumerate([int(OWN[i]), *NOISE[i].tolist()]):
            model = score[i, j].exp() / (2.5 * size)
            torch.testing.assert_close(q[4 * i + place, 0], model / (model + 3 / size))


def test_the_divergence_is_binary_cross_entropy(normal):
    z, bank = normal(2, 3), normal(5, 3)
    contrast = NoiseContrast(temperature=0.5, kappa=2.5)
    columns = torch.cat([OWN[:, None], NOISE], 1)
    logits = F.cosine_similarity(z[:, None], bank[columns], dim=-1) / 0.5 - math.log(2.5 * 3)
    target = torch.zeros_like(logits)
    target[:, 0] = 1.0
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten()
    torch.testing.assert_close(kl(contrast.truth(NOISE), contrast(z, bank, OWN, NOISE)), expected)


@pytest.mark.parametrize(
    ("own", "noise"), [(OWN[:1], NOISE), (OWN, NOISE[:1]), (OWN, NOISE[:, 0]), (OWN, NOISE[:, :0])]
)
def test_draws_that_do_not_fit_are_refused(own, noise):
    with pytest.raises(ValueError, match="needs its own row and at least one drawn as noise"):
        NoiseContrast()(torch.ones(2, 3), torch.ones(5, 3), own, noise)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"kappa": -1.0}])
def test_scales_must_be_positive(options):
    with pytest.raises(ValueError, match="must be positive"):
        NoiseContrast(**options)
