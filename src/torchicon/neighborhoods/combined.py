"""Kernels that are sums of kernels: of the same features, or of parts of them (Kernel-InfoNCE)."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from typing import final

import torch
from torch import Tensor

from torchicon.core import Score
from torchicon.neighborhoods.bandwidth import Perplexity
from torchicon.neighborhoods.gaussian import Gaussian
from torchicon.neighborhoods.recipe import KernelRecipe


class _Sum(KernelRecipe):
    """Logit log sum_k exp(s_k) of scores that each see their own block of the features."""

    def __init__(self, *scores: Score) -> None:
        if len(scores) < 2:
            raise ValueError(f"A sum needs at least two kernels, got {len(scores)}.")
        for score in scores:
            if isinstance(score, Gaussian) and isinstance(score.bandwidth, Perplexity):
                raise ValueError("A perplexity scales the whole row of an anchor, not one kernel: give a bandwidth.")
        self.scores = scores

    @abstractmethod
    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """What each score sees of the points (n, d)."""

    def features(self, x: Tensor) -> Tensor:
        """The features of each score, side by side."""
        blocks = [score.features(part) for score, part in zip(self.scores, self.parts(x), strict=True)]
        if len({block.shape[1] for block in blocks}) > 1:
            raise ValueError("The kernels of a sum must see as many dimensions each; write a sum of sums as one sum.")
        return torch.cat(blocks, 1)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Log of the sum of kernels."""
        return reduce(torch.logaddexp, self._each(a, b))

    def _each(self, a: Tensor, b: Tensor) -> list[Tensor]:
        return [score.pairwise(*blocks) for score, *blocks in self._split(a, b)]

    def _split(self, a: Tensor, b: Tensor) -> list[tuple[Score, Tensor, Tensor]]:
        count = len(self.scores)
        return list(zip(self.scores, a.chunk(count, -1), b.chunk(count, -1), strict=True))

    def pull_back(self, a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Each score gets its share of the sum at every pair."""
        each = self._each(a, b)
        total = reduce(torch.logaddexp, each)
        pulled = [
            score.pull_back(of_a, of_b, weight * (scores - total).exp())
            for scores, (score, of_a, of_b) in zip(each, self._split(a, b), strict=True)
        ]
        of_a, of_b = zip(*pulled, strict=True)
        return torch.cat(of_a, 1), torch.cat(of_b, 1)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """Log of the sum at the given pairs."""
        return reduce(torch.logaddexp, [score.paired(*blocks) for score, *blocks in self._split(a, b)])


@final
class SumOfKernels(_Sum):
    r"""Kernel $K = K_1 + K_2 + \dots$ of the same points, $q_{j|i} = K_{ij} / \sum_k K_{ik}$ (theory 2.6).

    A sum of losses is another objective: there the kernels are multiplied (theory 2.6, "Loss sum").

    Args:
        scores: two or more, such as ``Exponential(2.0, 0.5), Exponential(1.0, 0.5)``; each with its own temperature.

    Raises:
        ValueError: fewer than two, or a bandwidth by perplexity.

    >>> from torchicon.neighborhoods import Exponential
    >>> SumOfKernels(Exponential(2.0), Exponential(1.0))(torch.tensor([[0.0], [1.0], [2.0]])).dense()[0]
    tensor([0.0000, 0.8272, 0.1728])
    """

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """All dimensions for every score."""
        return (x,) * len(self.scores)


@final
class ConcatenatedKernels(_Sum):
    r"""Kernel $K = K_1(a', b') + K_2(a'', b'')$ of the first and second half of the dimensions (theory 2.6).

    Args:
        scores: of the first half, of the second half; of k equal parts when k scores are given.

    Raises:
        ValueError: fewer than two, a bandwidth by perplexity, or dimensions that k does not divide.

    >>> from torchicon.neighborhoods import Exponential
    >>> z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> ConcatenatedKernels(Exponential(1.0, 0.5), Exponential(2.0))(z).dense()[0]
    tensor([0.0000, 0.4536, 0.5464])
    """

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Equal parts, in the scores' order."""
        count = len(self.scores)
        if x.shape[1] % count:
            raise ValueError(f"{count} kernels cannot share {x.shape[1]} dimensions equally.")
        return x.chunk(count, 1)
