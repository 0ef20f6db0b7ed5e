"""The Gaussian neighborhood, with a fixed bandwidth or one found for each anchor from a perplexity."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchicon.core import Candidates, Kernel, Radial
from torchicon.core.score import FusedForm, mean_sq_dist
from torchicon.neighborhoods.bandwidth import Perplexity, precisions
from torchicon.neighborhoods.recipe import KernelRecipe, require_positive


@final
class Gaussian(Radial, KernelRecipe):
    r"""Logit $-\|a_i - b_j\|^2 / 2\sigma^2$: SNE and K-Means (theory 1, "Kernels").

    Papers that print exp(-d) mean bandwidth sqrt(1/2). On unit vectors it is the cosine score with temperature
    sigma^2.

    Args:
        bandwidth: sigma, in units of the points; a tensor to learn it; or `Perplexity`, which gives every anchor
            its own (and no gradient to the points).

    >>> Gaussian(1.0)(torch.tensor([[0.0], [1.0], [2.0]])).dense().round(decimals=4)
    tensor([[0.0000, 0.8176, 0.1824],
            [0.5000, 0.0000, 0.5000],
            [0.1824, 0.8176, 0.0000]])
    """

    def __init__(self, bandwidth: float | Tensor | Perplexity = 1.0) -> None:
        require_positive("bandwidth", bandwidth)
        self.bandwidth = bandwidth

    def features(self, x: Tensor) -> Tensor:
        """Points in units of sqrt(2) sigma."""
        x = super().features(x)
        if isinstance(self.bandwidth, Perplexity):
            return x
        return x / (torch.as_tensor(self.bandwidth, dtype=x.dtype, device=x.device) * math.sqrt(2.0))

    def log_kernel(self, sq_dist: Tensor) -> Tensor:
        """The negative squared distance."""
        return -sq_dist

    def slope(self, sq_dist: Tensor) -> Tensor:
        """Constant."""
        return torch.full_like(sq_dist, -1.0)

    def mean_pairwise(self, a: Tensor, b: Tensor) -> Tensor | None:
        """Minus the mean squared distance."""
        return -mean_sq_dist(a, b)

    def fused_form(self) -> FusedForm:
        """Minus the squared distance."""
        return FusedForm("sq_dist", -1.0)

    def __call__(self, anchors: Tensor, keys: Tensor | None = None, *, candidates: Candidates | None = None) -> Kernel:
        """Rows over the other anchors, or over ``keys``; see `KernelRecipe`."""
        if not isinstance(self.bandwidth, Perplexity):
            return Kernel(self, anchors, keys, candidates=candidates)
        with torch.no_grad():
            unscaled = Kernel(self, anchors, keys, candidates=candidates)
            beta = precisions(unscaled, self.bandwidth)
        return Kernel(self, anchors, keys, candidates=candidates, row_scale=beta)
