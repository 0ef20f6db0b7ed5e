"""Inner-product neighborhoods of contrastive learning: cosine and dot, with a temperature."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchicon.core import Bilinear
from torchicon.core.score import FusedForm
from torchicon.neighborhoods.recipe import KernelRecipe, require_positive


@final
class Dot(Bilinear, KernelRecipe):
    r"""Logit $a_i \cdot b_j / \tau$ (theory 1): classifiers, language models, unnormalized contrastive learning.

    Args:
        temperature: tau > 0; a tensor to learn it, such as ``1 / logit_scale.exp()``.
    """

    def __init__(self, temperature: float | Tensor = 1.0) -> None:
        require_positive("temperature", temperature)
        self.temperature = temperature

    def features(self, x: Tensor) -> Tensor:
        """Vectors divided by the root of the temperature."""
        return _tempered(super().features(x), self.temperature)

    def fused_form(self) -> FusedForm:
        """The inner product."""
        return FusedForm("inner", 1.0)


@final
class Cosine(Bilinear, KernelRecipe):
    r"""Logit $\cos(a_i, b_j) / \tau$ (theory 1): SimCLR, SupCon, CLIP. A Gaussian of sigma^2 = tau on the sphere.

    Args:
        temperature: tau > 0; a tensor to learn it.

    >>> Cosine(0.5)(torch.eye(3)).dense()
    tensor([[0.0000, 0.5000, 0.5000],
            [0.5000, 0.0000, 0.5000],
            [0.5000, 0.5000, 0.0000]])
    """

    def __init__(self, temperature: float | Tensor = 0.1) -> None:
        require_positive("temperature", temperature)
        self.temperature = temperature

    def features(self, x: Tensor) -> Tensor:
        """Unit vectors divided by the root of the temperature."""
        return _tempered(torch.nn.functional.normalize(super().features(x), dim=-1), self.temperature)

    def fused_form(self) -> FusedForm:
        """The inner product."""
        return FusedForm("inner", 1.0)


def _tempered(x: Tensor, temperature: float | Tensor) -> Tensor:
    require_positive("temperature", temperature)  # again: an optimizer may have moved it since
    # Half of the temperature on either side: scores stay symmetric and features carry its gradient.
    return x / torch.as_tensor(temperature, dtype=x.dtype, device=x.device).sqrt()
