"""The descent of a map: positions y that minimize the KL divergence of q(y) from a sparse p."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import scipy.sparse as sps
import torch
from torch import Tensor

from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import Normalization, Objective

__all__ = ["Descent", "Embedding", "State", "embed"]

_LOOK_EVERY = 50
_NOISE = 0.01  # nats an anchor by which interpolation and momentum may raise the KL between two looks


@dataclass(frozen=True)
class Descent:
    """How the positions descend: momentum and a gain per coordinate (Jacobs 1988), as in van der Maaten & Hinton 2008.

    Attributes:
        exaggeration: factor on the attraction in the first phase, so that clusters form before they spread.
        exaggerated_iterations: length of the first phase.
        iterations: length of the second.
        learning_rate: of the gradient of the joint KL, or of the mean KL of the rows. Left out: n / 4 over the factor
            in force, at least 50. (Belkina et al., Nature Communications 2019; 4 is the factor of the joint gradient.
            That the rate rises when the exaggeration ends lowers the final KL.)
        momentum: share of the last step that is kept.
        tolerance: norm of the gradient at which the descent ends.
    """

    exaggeration: float = 12.0
    exaggerated_iterations: int = 250
    iterations: int = 750
    learning_rate: float | None = None
    momentum: float = 0.8
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        if not 1 <= self.exaggeration < math.inf:
            raise ValueError(f"exaggeration must be at least 1, got {self.exaggeration}.")
        if self.exaggerated_iterations < 0 or self.iterations < 0:
            raise ValueError(
                f"Iterations must not be negative, got {self.exaggerated_iterations} and {self.iterations}."
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}.")

        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}.")

    def rate(self, n: int, exaggeration: float) -> float:
        """The learning rate for n points under an exaggeration."""
        return max(n / exaggeration / 4, 50.0) if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True)
class State:
    """All that a descent knows after an iteration: go on from it, and the map will be the same.

    Attributes:
        iteration: those done.
        y: positions (n, d), in widths of the kernel.
        velocity: (n, d) the last step.
        gains: (n, d) factors on the learning rate.
        kept: (n, d) the positions of the last look, to go back to.
        limit: KL at that look, which the next may not exceed by much.
        caution: factor on all steps, below 1 once the descent had to go back.
        history: (iteration, KL) of every look, the KL as the descent saw it.
    """

    iteration: int
    y: Tensor
    velocity: Tensor
    gains: Tensor
    kept: Tensor
    limit: float = math.inf
    caution: float = 1.0
    history: tuple[tuple[int, float], ...] = ()

    @classmethod
    def at(cls, y: Tensor) -> State:
        """At rest at y."""
        return cls(0, y, torch.zeros_like(y), torch.ones_like(y), y)


@dataclass(frozen=True)
class Embedding:
    """A map and how it came about.

    Attributes:
        positions: (n, d), centered.
        objective: the KL divergence at these positions, in float64, nats: of the joint distributions, or summed over
            the rows.
        iterations: those done.
        history: (iteration, KL) every 50 iterations, the KL as the descent saw it.
        interrupted: whether Ctrl-C ended the descent; the map is then that of the last whole iteration.
    """

    positions: Tensor
    objective: float
    iterations: int
    history: tuple[tuple[int, float], ...]
    interrupted: bool


@torch.no_grad()
def embed(
    p: sps.csr_array,
    start: Tensor,
    kernel: MapKernel,
    *,
    normalization: Normalization = "joint",
    descent: Descent | None = None,
    callback: Callable[[State], None] | None = None,
    resume: State | None = None,
    seed: int = 0,
) -> Embedding:
    """Minimize KL(p || q) over the positions, from `start` (n, d), in its floating type and on its device.

    Points that start at the same place exert no force on each other, and those with the same p would stay together
    for ever: they alone are moved apart by a seeded jitter far below the spread of the start.

    Ctrl-C ends the descent and keeps the map so far, with a warning.

    Args:
        p: see `Objective`; not changed.
        start: finite positions in widths of the kernel, such as principal components with standard deviation 1e-4.
        kernel: of q.
        normalization: "joint" (t-SNE), or "row" (SNE, and t-SNE as a case of I-Con).
        descent: the schedule.
        callback: called with the state every 50 iterations.
        resume: a state of the same descent to go on from.
        seed: of the jitter.

    Raises:
        ValueError: p or start that do not fit.
    """
    descent = Descent() if descent is None else descent
    if start.ndim != 2 or len(start) != p.shape[0] or start.shape[1] == 0 or not start.is_floating_point():
        raise ValueError(f"start must be floating ({p.shape[0]}, d), got {start.dtype} {tuple(start.shape)}.")
    if not start.isfinite().all():
        raise ValueError(f"start must be finite; row {int((~start.isfinite()).nonzero()[0, 0])} is not.")
    objective = Objective(p, kernel, normalization, start.dtype, start.device)
    stable = _longest_steps(objective, descent)
    state = State.at(_separate(start, seed)) if resume is None else resume
    interrupted = False
    try:
        while state.iteration < descent.exaggerated_iterations + descent.iterations:
            exaggeration = descent.exaggeration if state.iteration < descent.exaggerated_iterations else 1.0
            gradient, log_normalizer = objective.gradient(state.y, exaggeration)
            seen = bool(state.history) and state.history[-1][0] == state.iteration  # where a state is resumed
            if state.iteration % _LOOK_EVERY == 0 and not seen:
                value = objective.value(state.y, float(log_normalizer))
                if not _went_well(state, value, objective):
                    # A Gaussian repels stiffly where a point is nearest to many: back, and more carefully.
                    state = replace(
                        state,
                        y=state.kept,
                        caution=state.caution / 4,
                        velocity=torch.zeros_like(start),
                        gains=torch.ones_like(start),
                    )
                    gradient, log_normalizer = objective.gradient(state.y, exaggeration)
                    value = objective.value(state.y, float(log_normalizer))
                state = _looked(state, value, objective, exaggeration)
                if callback is not None:
                    callback(state)
                if exaggeration == 1 and float(gradient.norm()) <= descent.tolerance:
                    break
            state = _step(state, gradient, descent, exaggeration, stable)
    except KeyboardInterrupt:
        interrupted = True
        warnings.warn(f"Interrupted: the map after {state.iteration} iterations is kept.", UserWarning, stacklevel=3)
    y, final = state.y, objective.exact(state.y)
    if not final <= state.limit + _NOISE * objective.anchors:  # since the last look
        y, final = state.kept, objective.exact(state.kept)
    return Embedding(y, final, state.iteration, state.history, interrupted)


def _longest_steps(objective: Objective, descent: Descent) -> Tensor:
    """Rates (n, 1) up to which a point on springs is stable: (1 + b) / k for momentum b and stiffness k.

    A longer step would let a Gaussian's attraction, which grows with distance, throw the map apart.
    """
    stiffness = objective.attraction.far_stiffness
    return ((1 + descent.momentum) / stiffness.clamp(min=torch.finfo(stiffness.dtype).tiny)).unsqueeze(1)


def _went_well(state: State, value: float, objective: Objective) -> bool:
    return state.limit == math.inf or (
        math.isfinite(value)  # it is not where all kernels underflow, as they may at the start
        and value <= state.limit + _NOISE * objective.anchors
    )


def _looked(state: State, value: float, objective: Objective, exaggeration: float) -> State:
    """The state with this look in its history, and its positions as those to go back to."""
    history = (*state.history, (state.iteration, value))
    if not math.isfinite(value):
        return replace(state, kept=state.y, limit=math.inf, history=history)
    # Under exaggeration the KL itself may rise, to that of points that all coincide: log n an anchor.
    roof = objective.anchors * math.log(len(state.y)) if exaggeration > 1 else -math.inf
    return replace(state, kept=state.y, limit=max(min(value, state.limit), roof), history=history)


def _step(state: State, gradient: Tensor, descent: Descent, exaggeration: float, stable: Tensor) -> State:
    uphill = (gradient * state.velocity) > 0
    gains = torch.where(uphill, state.gains * 0.8, state.gains + 0.2).clamp_(min=0.01)
    rate = descent.rate(len(gradient), exaggeration)
    step = torch.minimum(gains * rate, stable / exaggeration).mul_(state.caution)
    velocity = (state.velocity * descent.momentum).addcmul_(step, gradient, value=-1)
    y = state.y + velocity - velocity.mean(0)
    return replace(state, iteration=state.iteration + 1, y=y, velocity=velocity, gains=gains)


def _separate(start: Tensor, seed: int) -> Tensor:
    """A centered copy in which no two points coincide."""
    _, group, size = torch.unique(start, dim=0, return_inverse=True, return_counts=True)
    shared = size[group] > 1
    y = start - start.mean(0)
    if shared.any():
        generator = torch.Generator(device=y.device).manual_seed(seed)
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
        spread = float(start.std(0).max())
        y[shared] += 1e-4 * (spread if spread > 0 else 1.0) * noise[shared]
    return y
