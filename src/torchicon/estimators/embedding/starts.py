"""Where the points of a map start."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SPREAD = 1e-4  # standard deviation: far below the kernel's width, where all points still attract each other


def start_of(x: Tensor, components: int, init: Literal["pca", "random"] | NDArray[Any], seed: int) -> Tensor:
    """Principal components or noise of standard deviation 1e-4, or the positions given, (n, components) float32.

    Raises:
        ValueError: an unknown name, or positions of another shape.
    """
    if not isinstance(init, str):
        start = torch.as_tensor(np.asarray(init), dtype=torch.float32)
        if start.shape != (len(x), components):
            raise ValueError(f"init must be ({len(x)}, {components}), got {tuple(start.shape)}.")
        return start
    if init not in ("pca", "random"):
        raise ValueError(f"init must be 'pca', 'random' or an array, got {init!r}.")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(x), components, generator=generator) * _SPREAD
    if init == "random":
        return noise
    centered = x.double() - x.double().mean(0)
    spread = float(centered.square().mean().sqrt())
    if spread == 0:
        return noise
    centered = centered / spread
    axes = torch.linalg.eigh(centered.T @ centered).eigenvectors.flip(1)[:, :components]
    # An axis is known up to its sign only; make its largest coordinate positive.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    start = centered @ axes
    start = _SPREAD * start / start[:, 0].std(correction=0)
    missing = components - start.shape[1]
    return torch.cat([start.float(), noise[:, :missing]], 1)
