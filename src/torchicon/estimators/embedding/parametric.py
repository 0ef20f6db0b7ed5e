"""Parametric maps: the positions are what a network makes of the points, and the network learns (theory 1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import scipy.sparse as sps
import torch
from torch import Tensor, nn

from torchicon.estimators.embedding.descent import Descent, Embedding
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import Normalization, Objective

__all__ = ["learn_map"]

_LOOK_EVERY = 50
_RATE = 3e-3


def learn_map(
    p: sps.csr_array,
    x: Tensor,
    module: nn.Module,
    kernel: MapKernel,
    *,
    normalization: Normalization,
    descent: Descent,
    callback: Callable[[int, float, Tensor], None],
) -> Embedding:
    """Minimize KL(p || q) over the parameters of ``module``, from x (n, d), by Adam on all points at once.

    The gradient with respect to the positions is that of a free map; the network passes it on. Its outputs are in the
    units of the kernel's scale. Ctrl-C ends the training and keeps the module so far, with a warning.

    Args:
        p: see `Objective`.
        x: the points, as the module takes them.
        module: (n, d) to (n, components); trained in place.
        kernel: of q.
        normalization: "joint" or "row".
        descent: its exaggeration, iterations, and learning rate of Adam (.003 when left out).
        callback: called with (iteration, KL, positions) every 50 iterations.

    Raises:
        ValueError: the module has no parameter to learn, or its output is not (n, components) or no longer finite.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("The mapper has nothing to learn: none of its parameters requires a gradient.")
    optimizer = torch.optim.Adam(parameters, lr=_RATE if descent.learning_rate is None else descent.learning_rate)
    objective: Objective | None = None
    history: list[tuple[int, float]] = []
    total = descent.exaggerated_iterations + descent.iterations
    done, interrupted = 0, False
    module.train()
    try:
        for iteration in range(total):
            y = module(x) / kernel.unit
            _check(y, x, iteration)
            with torch.no_grad():
                if objective is None:
                    objective = Objective(p, kernel, normalization, y.dtype, y.device)
                exaggeration = descent.exaggeration if iteration < descent.exaggerated_iterations else 1.0
                gradient, log_normalizer = objective.gradient(y.detach(), exaggeration)
                if iteration % _LOOK_EVERY == 0:
                    history.append((iteration, objective.value(y.detach(), float(log_normalizer))))
                    callback(*history[-1], y.detach())
            optimizer.zero_grad(set_to_none=True)
            y.backward(gradient)
            optimizer.step()
            done = iteration + 1
    except KeyboardInterrupt:
        interrupted = True
        warnings.warn(f"Interrupted: the module after {done} steps is kept.", UserWarning, stacklevel=3)
    module.eval()
    with torch.no_grad():
        y = module(x) / kernel.unit
        _check(y, x, done)
        if objective is None:
            objective = Objective(p, kernel, normalization, y.dtype, y.device)
        return Embedding(y, objective.exact(y), done, tuple(history), interrupted)


def _check(y: Tensor, x: Tensor, iteration: int) -> None:
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(f"The mapper must make ({len(x)}, components) of {tuple(x.shape)}, got {tuple(y.shape)}.")
    if not y.isfinite().all():
        raise ValueError(
            f"The mapper's output is not finite after {iteration} steps: lower the learning rate or scale the data."
        )
