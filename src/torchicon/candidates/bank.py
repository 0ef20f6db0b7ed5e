"""Memory banks: one remembered row for each sample of the data, moved a little whenever the sample is seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from torchicon.candidates._checks import require_features, require_index, require_size

_SUM_TOLERANCE = 1e-2  # of a row of probabilities in half precision


class Bank(nn.Module, ABC):
    """Remembered rows, which carry no gradient and travel in the ``state_dict``.

    Attributes:
        rows: (n, d) buffer, the keys of ``Cosine(0.07)(z, bank.rows)``.
        rate: share of the old row that an update keeps, in [0, 1); 0 remembers the last one only.
    """

    rows: Tensor

    def __init__(self, rows: Tensor, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate is the share of the old row that is kept, in [0, 1), got {rate}.")
        self.rate = rate
        self.register_buffer("rows", rows)

    @torch.no_grad()
    def update(self, index: Tensor, features: Tensor) -> None:
        """Move rows ``index`` (b,) towards ``features`` (b, d), after the loss that used them.

        Raises:
            ValueError: an index out of range or listed twice (two views of a sample are two updates), or features that
                are not finite or not (b, d).
        """
        require_index(index, len(self.rows), "the bank")
        require_features(features, self.rows.shape[1], "the bank")
        self._check(features)
        if len(features) != len(index):
            raise ValueError(f"Every index needs its features, got {len(index)} indices and {len(features)} rows.")
        distinct, times = torch.unique(index, return_counts=True)
        if len(distinct) < len(index):
            raise ValueError(
                f"Row {int(distinct[times.argmax()])} is updated {int(times.max())} times at once, and only one "
                "would last: update once for each view."
            )
        index = index.to(self.rows.device)
        new, old = features.detach().to(self.rows), self.rows[index]
        self.rows[index] = self._place(self.rate * old + (1 - self.rate) * new, old)

    def _check(self, features: Tensor) -> None:
        """Refuse features that are no row."""

    @abstractmethod
    def _place(self, mixed: Tensor, old: Tensor) -> Tensor:
        """Put mixed rows back to where rows live."""

    def sample(self, count: int, generator: Generator) -> Tensor:
        """``count`` columns, each uniform over all rows and independent of the others (so there may be repeats)."""
        require_size("count", count)
        drawn = torch.randint(len(self.rows), (count,), generator=generator, device=generator.device)
        return drawn.to(self.rows.device)

    def extra_repr(self) -> str:
        """Size and rate."""
        return f"{self.rows.shape[0]}, {self.rows.shape[1]}, rate={self.rate:g}"


@final
class MemoryBank(Bank):
    r"""Unit vectors, $M_i \leftarrow \alpha M_i + (1-\alpha) g_i$ and then divided by their length (theory 2.5).

    The bank of instance discrimination, local aggregation and contrastive multiview coding (Wu et al. 2018, Zhuang et
    al. 2019, Tian et al. 2020). Rows start uniform on the sphere. Features g are mixed as they come: the papers' are of
    unit length, and longer ones count for more. Where old and new cancel there is no direction, and the row stays.

    Args:
        n: samples of the data.
        d: dimensions.
        rate: alpha, the share of the old row that is kept, in [0, 1).
        generator: of the start.
        dtype: of the rows.

    Raises:
        ValueError: n or d below 1, or a rate outside [0, 1).

    >>> bank = MemoryBank(100, 2, rate=0.5, generator=torch.Generator().manual_seed(0))
    >>> bank.update(torch.tensor([7]), -3 * bank.rows[[7]])
    >>> bool(bank.rows[7].norm().isclose(torch.tensor(1.0)))
    True
    """

    def __init__(
        self, n: int, d: int, *, rate: float = 0.5, generator: Generator, dtype: torch.dtype = torch.float32
    ) -> None:
        require_size("n", n)
        require_size("d", d)
        super().__init__(F.normalize(torch.randn(n, d, generator=generator, dtype=dtype), dim=1), rate)

    def _place(self, mixed: Tensor, old: Tensor) -> Tensor:
        length = mixed.norm(dim=1, keepdim=True)
        return torch.where(length > 0, mixed / length, old)


@final
class ProbabilityBank(Bank):
    r"""Probabilities of clusters, $M_i \leftarrow \alpha M_i + (1-\alpha) \varphi_i$: CRLC's bank (theory 2.4).

    A mixture of distributions is one, so nothing is normalized, and after T updates a row is
    $\alpha^T M_0 + (1-\alpha) \sum_t \alpha^{T-t} \varphi_t$. Rows start uniform on the simplex: were they all the
    uniform distribution, a critic could not tell them apart and its gradient would be exactly zero.

    Args:
        n: samples of the data.
        c: clusters.
        rate: alpha, the share of the old row that is kept, in [0, 1).
        generator: of the start.
        dtype: of the rows.

    Raises:
        ValueError: n or c below 1, or a rate outside [0, 1); in an update, rows that are not probabilities.

    >>> bank = ProbabilityBank(100, 3, generator=torch.Generator().manual_seed(0))
    >>> bank.update(torch.tensor([7]), torch.tensor([[0.0, 0.0, 1.0]]))
    >>> bool(bank.rows[7, 2] > 0.5)
    True
    """

    def __init__(
        self, n: int, c: int, *, rate: float = 0.5, generator: Generator, dtype: torch.dtype = torch.float32
    ) -> None:
        require_size("n", n)
        require_size("c", c)
        # Gaps between sorted uniform numbers are uniform on the simplex, and exactly so without a logarithm.
        inner = torch.rand(n, c - 1, generator=generator, dtype=dtype).sort(1).values
        cuts = torch.cat([inner.new_zeros(n, 1), inner, inner.new_ones(n, 1)], 1)
        super().__init__(cuts.diff(dim=1), rate)

    def _check(self, features: Tensor) -> None:
        wrong = (features < 0).any(-1) | ((features.sum(-1) - 1).abs() > _SUM_TOLERANCE)
        if wrong.any():
            row = int(wrong.nonzero()[0, 0])
            raise ValueError(
                f"Rows of a ProbabilityBank are probabilities, but row {row} of features sums to "
                f"{float(features[row].sum()):.4g} with a minimum of {float(features[row].min()):.4g}: "
                "apply a softmax, or use a MemoryBank."
            )

    def _place(self, mixed: Tensor, old: Tensor) -> Tensor:
        return mixed
