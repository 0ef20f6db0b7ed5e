"""Scores: the logit s_ij that a kernel neighborhood gives to a pair, as a function of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchicon.core.numerics import at_least_float32

# Up to this many dimensions distances are summed from differences: exact, and as fast as a matrix product.
_DIFFERENCE_DIMENSIONS = 4


class FusedForm(NamedTuple):
    r"""A score that a fused kernel knows: ``factor`` times a function of two feature vectors.

    ``of`` names it: "inner" is $a \cdot b$, "sq_dist" is $|a - b|^2$, "log1p_sq_dist" is $\log(1 + |a - b|^2)$.
    """

    of: Literal["inner", "sq_dist", "log1p_sq_dist"]
    factor: float


class Score(ABC):
    """A symmetric score of two feature vectors.

    Everything learnable (temperature, bandwidth) is folded into `features`, so that the streamed normalizer
    differentiates with respect to features only.
    """

    def features(self, x: Tensor) -> Tensor:
        """Features (n, d) of points (n, d), float32 or better, with the scale folded in."""
        return at_least_float32(x)

    @abstractmethod
    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Scores (n, m) of every pair of rows of a (n, d) and b (m, d)."""

    @abstractmethod
    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients with respect to a and b of ``(weight * pairwise(a, b)).sum()``, for weight (n, m)."""

    def pull_back_one(self, a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        """The gradient with respect to a alone, where that is cheaper than both."""
        return self.pull_back(a, b, weight)[0]

    @abstractmethod
    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """Scores (n, s) of each row of a (n, d) with its own s vectors b (n, s, d)."""

    def mean_pairwise(self, a: Tensor, b: Tensor) -> Tensor | None:
        """Mean over all rows of b (m, d) of the scores of each row of a, in O(n d); None if there is no such form."""
        return None

    def weighted_pairwise(self, a: Tensor, b: Tensor, weight: Tensor) -> Tensor | None:
        """Sums over b (m, d) of the scores of each row of a (n, d), weighted by each column of weight (m, c): (n, c).

        In O((n + m) c d) for what is linear in inner products or squared distances, by `fused_form`; None for others.
        """
        form = self.fused_form()
        if form is None or form.of == "log1p_sq_dist":
            return None
        if form.of == "inner":
            return form.factor * (a @ (b.T @ weight))
        total = weight.sum(0)
        center = (weight / torch.where(total == 0, 1.0, total)).T @ b
        # Parallel-axis theorem: around its center a cluster's sum of squares has no cross term.
        return form.factor * (total * pairwise_sq_dist(a, center) + (weight * pairwise_sq_dist(b, center)).sum(0))

    def fused_form(self) -> FusedForm | None:
        """The form that lets a CUDA device fuse the normalizer (`torchicon.core.fused`); None leaves it to tiles."""
        return None


class Bilinear(Score):
    r"""Inner product of features, $s_{ij} = a_i \cdot b_j$."""

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """One matrix product."""
        return a @ b.T

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Two matrix products."""
        return weight @ b, weight.T @ a

    def pull_back_one(self, a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        """One matrix product."""
        return weight @ b

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """Inner products one by one: batched products of vectors are several times slower on a CPU."""
        return (a[:, None] * b).sum(-1)

    def mean_pairwise(self, a: Tensor, b: Tensor) -> Tensor | None:
        """The mean of inner products is the inner product with the mean."""
        return a @ b.mean(0)


class Radial(Score):
    """A score that falls with the squared Euclidean distance of the features."""

    @abstractmethod
    def log_kernel(self, sq_dist: Tensor) -> Tensor:
        """Log-kernel at squared distances of features, elementwise."""

    @abstractmethod
    def slope(self, sq_dist: Tensor) -> Tensor:
        """Derivative of the log-kernel with respect to the squared distance, elementwise."""

    def kernel(self, sq_dist: Tensor) -> Tensor:
        """The kernel itself, elementwise."""
        return self.log_kernel(sq_dist).exp()

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """The log-kernel of all squared distances."""
        return self.log_kernel(pairwise_sq_dist(a, b))

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of a squared distance is twice the difference of its points."""
        center = b.mean(0)  # far from the origin the two terms of a difference of sums would cancel
        a, b = a - center, b - center
        force = 2.0 * weight * self.slope(pairwise_sq_dist(a, b))
        return force.sum(1)[:, None] * a - force @ b, force.sum(0)[:, None] * b - force.T @ a

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """The log-kernel of the given pairs' squared distances."""
        return self.log_kernel((a[:, None] - b).square().sum(-1))


def pairwise_sq_dist(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Squared Euclidean distances. Centered first, since the expanded square cancels far from the origin."""
    if a.shape[1] <= _DIFFERENCE_DIMENSIONS:
        sq_dist = (a[:, None, 0] - b[None, :, 0]).square()
        for d in range(1, a.shape[1]):
            sq_dist = sq_dist + (a[:, None, d] - b[None, :, d]).square()
        return sq_dist
    center = b.detach().mean(0)
    a, b = a - center, b - center
    cross = torch.addmm(b.square().sum(1), a, b.T, alpha=-2.0)
    return (cross + a.square().sum(1)[:, None]).clamp_min(0.0)


def pull_back_through(score: Score, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """`Score.pull_back` by differentiating `Score.pairwise`, where that sums differences.

    Large forces of near points would cancel in the matrix products of `Radial.pull_back`.
    """
    with torch.enable_grad():
        a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
        of_a, of_b = torch.autograd.grad(score.pairwise(a, b), (a, b), weight)
    return of_a, of_b


def mean_sq_dist(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """Mean squared distance of each row of a to all rows of b, in O(n d) (parallel-axis theorem; theory 6)."""
    center = b.mean(0)
    return (a - center).square().sum(-1) + (b - center).square().sum(-1).mean()
