"""Critics on probability vectors: how alike two cluster assignments are (CRLC, theory 2.4).

CRLC has four. Two are here; its `dot` is `Dot()` and its `neg_l2`, minus the squared distance, is
``Gaussian(math.sqrt(0.5))``, both called with probabilities.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchicon.core.numerics import readable
from torchicon.neighborhoods.recipe import KernelRecipe


def smooth_probabilities(phi: Tensor, share: float) -> Tensor:
    r"""Give every cluster a share of each row, $(1-\gamma) \phi + \gamma / C$ (CRLC, where gamma is 0.01).

    `debias` mixes a neighborhood, this a point. It keeps critics finite: two rows that share no cluster have the
    inner product 0, whose logarithm is no score.

    Args:
        phi: (n, c) probabilities.
        share: gamma in [0, 1).

    Raises:
        ValueError: a share outside [0, 1).

    >>> smooth_probabilities(torch.eye(2), 0.5)
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1), got {share}.")
    return (1 - share) * phi + share / phi.shape[-1]


@final
class LogDot(KernelRecipe):
    r"""Logit $\log \phi_i \cdot \phi_j$ of probabilities: the chance that both are of one cluster (CRLC's `log_dot`).

    Over all candidates, self included, it is ``Clusters("point")`` (theory 4a). Called with positive probabilities
    (n, c): those of `smooth_probabilities`.

    Raises:
        ValueError: a probability that is not positive (checked on a CPU only).

    >>> LogDot()(torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])).dense()[0]
    tensor([0.0000, 0.8200, 0.1800])
    """

    def features(self, x: Tensor) -> Tensor:
        """The probabilities."""
        x = super().features(x)
        if readable(x) and not bool((x > 0).all()):
            raise ValueError(
                f"LogDot needs positive probabilities, got {float(x.min()):.3g}: two rows without a common cluster "
                "have no score. Call it with smooth_probabilities(phi, 0.01)."
            )
        return x

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Logarithm of a matrix product."""
        return (a @ b.T).log()

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """That of the product, each pair divided by its own."""
        weight = weight / (a @ b.T)
        return weight @ b, weight.T @ a

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """Logarithm of inner products."""
        return (a[:, None] * b).sum(-1).log()


@final
class JensenShannon(KernelRecipe):
    r"""Logit $-\mathrm{JSD}(\phi_i, \phi_j)$ in nats, $\mathrm{JSD}(a, b) = H(\frac{a+b}{2}) - \frac{H(a) + H(b)}{2}$.

    CRLC's `neg_jsd`; it lies between -log 2 and 0, without a temperature. Called with probabilities (n, c). The slope
    towards a probability 0 is infinite, and is taken to be 0 there, where a softmax has none either.

    >>> JensenShannon()(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).dense()[0].round(decimals=4)
    tensor([0.0000, 0.6667, 0.3333])
    """

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Cluster by cluster, so that memory is that of the pairs."""
        mixed = sum((_entropy((a[:, None, c] + b[None, :, c]) / 2) for c in range(a.shape[1])), a.new_zeros(()))
        return (_entropy(a).sum(1)[:, None] + _entropy(b).sum(1)) / 2 - mixed

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The slope in a is log(mean / a) / 2, and likewise in b."""
        of_a, of_b = torch.empty_like(a), torch.empty_like(b)
        for c in range(a.shape[1]):
            pull = weight * _log((a[:, None, c] + b[None, :, c]) / 2)
            of_a[:, c] = torch.where(a[:, c] == 0, 0.0, pull.sum(1) - weight.sum(1) * _log(a[:, c])) / 2
            of_b[:, c] = torch.where(b[:, c] == 0, 0.0, pull.sum(0) - weight.sum(0) * _log(b[:, c])) / 2
        return of_a, of_b

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """The given pairs, all clusters at once."""
        own = (_entropy(a).sum(-1)[:, None] + _entropy(b).sum(-1)) / 2
        return own - _entropy((a[:, None] + b) / 2).sum(-1)


def _log(x: Tensor) -> Tensor:
    """Natural logarithm; 0 at 0, where it is always a factor of 0."""
    return torch.where(x == 0, 1.0, x).log()


def _entropy(x: Tensor) -> Tensor:
    """Minus x log x, elementwise; at 0 value and gradient are 0."""
    return -torch.where(x == 0, 0.0, x) * _log(x)
