"""The optimizer of neighbor embeddings: positions y that minimize the KL divergence of q(y) from a sparse p."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchicon.estimators._attraction import Attraction
from torchicon.estimators._edges import Edges
from torchicon.estimators._radial import Radial
from torchicon.estimators._repulsion import JointRepulsion, Repulsion, RowRepulsion

__all__ = ["Descent", "Embedding", "Normalization", "Objective", "embed"]

Normalization = Literal["joint", "row"]
Callback = Callable[[int, float], None]

_REPORT_EVERY = 50
_EXACT_EDGES = 1 << 20
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
class Embedding:
    """A map and how it came about.

    Attributes:
        positions: (n, d), centered.
        objective: the KL divergence at these positions, by exact sums in float64, nats: of the joint distributions,
            or summed over the rows.
        iterations: those done.
        history: (iteration, KL) every 50 iterations, the KL as the descent saw it.
        interrupted: whether Ctrl-C ended the descent; the map is then that of the last whole iteration.
    """

    positions: Tensor
    objective: float
    iterations: int
    history: tuple[tuple[int, float], ...]
    interrupted: bool


class Objective:
    """KL(p || q) of positions: jointly over all pairs, or the sum of the rows. Gradients are of its mean over anchors.

    Args:
        p: the sparse neighborhoods; for "joint" they sum to 1, for "row" each row does, or is empty and drops out.
        kernel: K, by which q is proportional to K(|y_i - y_j|^2), i != j.
        normalization: over all pairs, or over each row.
        dtype: of the positions.

    Raises:
        ValueError: weights that are negative or do not sum to 1, or mass of an anchor on itself.
    """

    def __init__(self, p: Edges, kernel: Radial, normalization: Normalization, dtype: torch.dtype) -> None:
        _validate(p, normalization)
        row_sums = p.row_sums
        self.p, self.kernel, self._rows = p, kernel, p.rows
        self.anchors = 1.0 if normalization == "joint" else float((row_sums > 0).sum())
        scaled = p._replace(weight=p.weight.double() / self.anchors)
        self.attraction = Attraction(scaled, kernel, dtype)
        self.repulsion: Repulsion = (
            JointRepulsion(kernel)
            if normalization == "joint"
            else RowRepulsion(kernel, row_sums.double() / self.anchors)
        )
        positive = p.weight[p.weight > 0].double()
        self.minus_entropy = float((positive * positive.log()).sum())

    def gradient(self, y: Tensor, exaggeration: float = 1.0) -> tuple[Tensor, Tensor]:
        """Gradient of the mean KL with its attraction exaggerated, (n, d), and the normalizing term."""
        push, log_normalizer = self.repulsion(y)
        return push.add_(self.attraction.gradient(y), alpha=exaggeration), log_normalizer

    def value(self, y: Tensor, log_normalizer: float) -> float:
        """The KL, given the normalizing term."""
        return self.minus_entropy + self.anchors * (self.attraction.value(y) + log_normalizer)

    def exact(self, y: Tensor) -> float:
        """The KL without interpolation, in float64 throughout."""
        y = y.double()
        cross = 0.0
        for start in range(0, len(self.p.weight), _EXACT_EDGES):
            part = slice(start, start + _EXACT_EDGES)
            sq_dist = (y[self._rows[part]] - y[self.p.columns[part]]).square().sum(1)
            cross -= float((self.p.weight[part] * self.kernel.log_value(sq_dist)).sum())
        return self.minus_entropy + cross + self.anchors * self.repulsion.exact(y)


@torch.no_grad()
def embed(
    p: Edges,
    start: Tensor,
    kernel: Radial,
    *,
    normalization: Normalization = "joint",
    descent: Descent | None = None,
    callback: Callback | None = None,
    seed: int = 0,
) -> Embedding:
    """Minimize KL(p || q) over the positions, from `start` (n, d), in its floating type.

    Points that start at the same place exert no force on each other, and those with the same p would stay together
    for ever: they alone are moved apart by a seeded jitter far below the spread of the start.

    Ctrl-C ends the descent and keeps the map so far, with a warning.

    Args:
        p: see `Objective`; not changed.
        start: finite positions, such as principal components scaled to a standard deviation of 1e-4.
        kernel: `StudentT` or `Gaussian`, or any other.
        normalization: "joint" (t-SNE), or "row" (SNE, and t-SNE as a case of I-Con).
        descent: the schedule.
        callback: called with (iteration, KL) every 50 iterations.
        seed: of the jitter.

    Raises:
        ValueError: p or start that do not fit.
    """
    descent = Descent() if descent is None else descent
    if start.ndim != 2 or len(start) != p.n or start.shape[1] == 0 or not start.is_floating_point():
        raise ValueError(f"start must be floating ({p.n}, d), got {start.dtype} {tuple(start.shape)}.")
    if not start.isfinite().all():
        raise ValueError(f"start must be finite; row {int((~start.isfinite()).nonzero()[0, 0])} is not.")
    objective = Objective(p, kernel, normalization, start.dtype)
    y = _separate(start, seed)
    history: list[tuple[int, float]] = []
    done = 0
    interrupted = False
    # Descent with momentum b on springs of stiffness k is stable for rates below (1 + b) / k; a longer step would let a
    # Gaussian's attraction, which grows with distance, throw the map apart.
    stiffness = objective.attraction.far_stiffness.clamp(min=torch.finfo(y.dtype).tiny).unsqueeze(1)
    stable = (1 + descent.momentum) / stiffness
    velocity, gains = torch.zeros_like(y), torch.ones_like(y)
    caution = 1.0
    kept, limit = y, math.inf
    try:
        for iteration in range(1, descent.exaggerated_iterations + descent.iterations + 1):
            early = iteration <= descent.exaggerated_iterations
            exaggeration = descent.exaggeration if early else 1.0
            gradient, log_normalizer = objective.gradient(y, exaggeration)
            if iteration % _REPORT_EVERY == 1:
                value = objective.value(y, float(log_normalizer))
                finite = math.isfinite(value)  # it is not where all kernels underflow, as they may at the start
                if limit == math.inf or (finite and value <= limit + _NOISE * objective.anchors):
                    # Under exaggeration the KL itself may rise, to that of points that all coincide: log n an anchor.
                    roof = objective.anchors * math.log(p.n) if exaggeration > 1 else -math.inf
                    kept, limit = y, max(min(value, limit), roof) if finite else math.inf
                else:  # a Gaussian repels stiffly where a point is nearest to many: back, and more carefully
                    y, caution = kept, caution / 4
                    velocity, gains = torch.zeros_like(y), torch.ones_like(y)
                    gradient, log_normalizer = objective.gradient(y, exaggeration)
                    value = objective.value(y, float(log_normalizer))
                history.append((iteration - 1, value))
                if callback is not None:
                    callback(*history[-1])
                if not early and float(gradient.norm()) <= descent.tolerance:
                    break
            uphill = (gradient * velocity) > 0
            gains = torch.where(uphill, gains * 0.8, gains + 0.2).clamp_(min=0.01)
            step = caution * torch.minimum(gains * descent.rate(p.n, exaggeration), stable / exaggeration)
            velocity.mul_(descent.momentum).addcmul_(step, gradient, value=-1)
            # one operation, so that Ctrl-C finds whole positions
            y = y + velocity - velocity.mean(0)
            done = iteration
    except KeyboardInterrupt:
        interrupted = True
        warnings.warn(f"Interrupted: the map after {done} iterations is kept.", UserWarning, stacklevel=3)
    final = objective.exact(y)
    if not final <= limit + _NOISE * objective.anchors:  # since the last look
        y, final = kept, objective.exact(kept)
    return Embedding(y, final, done, tuple(history), interrupted)


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


def _validate(p: Edges, normalization: Normalization) -> None:
    if normalization not in ("joint", "row"):
        raise ValueError(f"normalization must be 'joint' or 'row', got {normalization!r}.")
    if p.n < 2:
        raise ValueError(f"A map needs at least two points, got {p.n}.")
    rows = p.rows
    if not (p.weight >= 0).all():
        raise ValueError(f"p must not be negative or NaN, got {p.weight.min()}.")
    own = (rows == p.columns) & (p.weight > 0)
    if own.any():
        raise ValueError(f"Anchor {int(rows[own][0])} has mass on itself, where q has none: leave self out.")
    sums = p.weight.sum().unsqueeze(0) if normalization == "joint" else p.row_sums
    wrong = (sums - 1).abs() > 1e-3
    if normalization == "row":
        wrong &= sums != 0
    if wrong.any():
        what = "All of p" if normalization == "joint" else f"Row {int(wrong.nonzero()[0, 0])} of p"
        raise ValueError(f"{what} must sum to 1, got {float(sums[wrong][0]):.6g}.")
    if not (sums > 0).any():
        raise ValueError("p is empty: no anchor has a neighbor.")
