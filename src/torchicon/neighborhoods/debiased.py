"""Debiased contrastive learning as a neighborhood of two candidates: the positive, or any of the true negatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core import Candidates, Dense, Sparse
from torchicon.core.numerics import safe_log
from torchicon.neighborhoods.inner import Cosine
from torchicon.neighborhoods.recipe import require_positive


@final
@dataclass(frozen=True)
class PositiveOrRest:
    r"""Rows over {its positive, all negatives together}, with weights $e^{s^+}$ and $N g$ (Chuang et al. 2020).

    The N others u of a batch, drawn without labels, hold a share $\tau^+$ of the anchor's own class. What they would
    weigh without it is estimated, and bounded below by the least that N cosines can weigh:
    $g = \max\{[\overline{e^{s_u}} - \tau^+ e^{s^+}] / (1 - \tau^+),\; e^{-1/t}\}$ with $s = \cos / t$ (theory 2.2).
    No gradient passes where the bound holds, but through the positive.

    Args:
        temperature: t > 0.
        prior: tau^+ in [0, 1), the share of an anchor's class; 0 is SimCLR, its negatives taken together.

    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> partner = Sparse.from_neighbors(torch.tensor([[1], [0], [3], [2]]), candidates=Candidates.others(4))
    >>> PositiveOrRest(0.5, prior=0.0)(z, partner).dense()[0]  # e^2 against twice e^0
    tensor([0.7870, 0.2130])
    """

    temperature: float = 0.5
    prior: float = 0.1

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        if not 0 <= self.prior < 1:
            raise ValueError(f"prior is the share of a class and must lie in [0, 1), got {self.prior}.")

    def __call__(self, z: Tensor, positives: Sparse, *, candidates: Candidates | None = None) -> Dense:
        """Rows (n, 2) from representations z (n, d): column 0 is the positive, column 1 the rest.

        Args:
            z: (n, d) learned representations.
            positives: one for each anchor, such as ``Positives()(image)`` of two views.
            candidates: identity of the two columns.

        Raises:
            ValueError: an anchor has no positive or several, or there is no other to contrast it with.
        """
        if len(positives.columns) != len(z) or not bool((positives.counts == 1).all()):
            raise ValueError(
                f"Each of the {len(z)} anchors needs exactly one positive, got {positives.n} anchors with "
                f"{int(positives.counts.min())} to {int(positives.counts.max())}."
            )
        others = len(z) - 2
        if others < 1:
            raise ValueError("With two rows there is no negative: give at least three.")
        kernel = Cosine(self.temperature)(z)
        positive = kernel.score_at(positives.columns[:, None], slice(0, kernel.n))[:, 0]
        log_total = kernel.log_normalizer(excluding=(positives.anchor, positives.columns))
        log_prior = math.log(self.prior * others) if self.prior else -math.inf
        own_class = (positive - log_total + log_prior).clamp_max(0.0).exp()  # at 1 nothing is left, and the bound holds
        estimate = log_total + safe_log(1 - own_class) - math.log1p(-self.prior)
        log_rest = torch.maximum(estimate, torch.full_like(estimate, math.log(others) - 1 / self.temperature))
        return Dense(torch.stack([positive, log_rest], dim=1), candidates)
