"""Noise contrast: whether a row was drawn from the data or from noise, as a neighborhood of two columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core import Candidates, Dense
from torchicon.neighborhoods.inner import Cosine
from torchicon.neighborhoods.recipe import require_positive

COLUMNS = Candidates.all(2, "data and noise")


@final
@dataclass(frozen=True)
class NoiseContrast:
    r"""The anchors are draws, the candidates {data, noise}, the logit that of an unnormalized softmax over a bank.

    Given n points, each with its own row of a bank and k rows drawn as noise, there are n (k + 1) anchors, point by
    point, the own row first. A row j has probability $e^{s_j} / Z$ as data and $1/N$ as noise, k times as often, so
    that $\mathrm{logit} = s_j - \log(\kappa k)$ if the normalizer is taken as $Z = \kappa N$: the size N of the bank
    cancels (Wu, Xiong et al. 2018, noise-contrastive estimation; theory 2.5).

    Args:
        temperature: omega, of the cosine score s.
        kappa: the normalizer Z as a share of N. Wu, Xiong et al. find it from the first batch; on ImageNet it was
            2876934.2 / 1281167.

    >>> z, bank = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    >>> contrast = NoiseContrast(temperature=1.0, kappa=1.0)
    >>> contrast(z, bank, torch.tensor([0]), torch.tensor([[1]])).dense()
    tensor([[0.7311, 0.2689],
            [0.5000, 0.5000]])
    >>> contrast.truth(torch.tensor([[1]])).dense()
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """

    temperature: float = 0.07
    kappa: float = 2876934.2 / 1281167

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_positive("kappa", self.kappa)

    def __call__(self, z: Tensor, bank: Tensor, index: Tensor, noise: Tensor) -> Dense:
        """q: what the scores say of each draw.

        Args:
            z: (n, d) representations.
            bank: (m, d) rows; d as in z.
            index: (n,) own row of each point.
            noise: (n, k) rows drawn uniformly, such as ``bank.sample(n * k, generator).view(n, k)``.

        Raises:
            ValueError: the index or the noise is not of that shape.
        """
        n = len(z)
        if index.shape != (n,) or noise.ndim != 2 or len(noise) != n or not noise.shape[1]:
            raise ValueError(
                f"Each of {n} points needs its own row and at least one drawn as noise, index ({n},) and "
                f"noise ({n}, k), got shapes {tuple(index.shape)} and {tuple(noise.shape)}."
            )
        columns = torch.cat([index[:, None], noise], 1)  # (n, 1 + k)
        score = Cosine(self.temperature)(z, bank).score_at(columns, slice(0, n))
        log_odds = score - math.log(self.kappa * noise.shape[1])
        return Dense(torch.stack([log_odds.flatten(), torch.zeros_like(log_odds).flatten()], 1), COLUMNS)

    @staticmethod
    def truth(noise: Tensor) -> Dense:
        """p: the first draw of each point is data, the k others are noise."""
        is_noise = torch.ones(len(noise), 1 + noise.shape[1], dtype=torch.bool, device=noise.device)
        is_noise[:, 0] = False
        return Dense.from_weights(torch.stack([~is_noise.flatten(), is_noise.flatten()], 1).double(), COLUMNS)
