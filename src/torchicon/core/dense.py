"""Dense rows: every probability is written down. For small problems, soft labels and attention-like learned p."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.numerics import at_least_float32, log_normalize, safe_log
from torchicon.core.rows import Rows, Support, check_own, own_columns


@final
class Dense(Rows):
    """Rows stored as an (n, m) tensor of log-weights, normalized here.

    Args:
        log_weight: (n, m) unnormalized log-weights, nats; -inf is no mass. Gradients flow into it.
        candidates: the columns; all m of them when omitted. With self excluded, an anchor's own column is masked.

    >>> Dense(torch.tensor([[0.0, 0.0], [0.0, -math.inf]])).dense()
    tensor([[0.5000, 0.5000],
            [1.0000, 0.0000]])
    """

    def __init__(self, log_weight: Tensor, candidates: Candidates | None = None) -> None:
        n, m = log_weight.shape
        self.candidates = Candidates.all(m) if candidates is None else candidates
        if self.candidates.size != m:
            raise ValueError(f"log_weight has {m} columns but candidates has {self.candidates.size}.")
        check_own(n, self.candidates)
        log_weight = at_least_float32(log_weight)
        own = own_columns(slice(0, n), log_weight.shape, self.candidates, device=log_weight.device)
        self.log_p = log_normalize(log_weight.masked_fill(own, -math.inf))

    @classmethod
    def from_weights(cls, weight: Tensor, candidates: Candidates | None = None) -> Dense:
        """Rows proportional to nonnegative weights (n, m)."""
        if not torch.compiler.is_compiling() and (weight < 0).any():
            i, j = (int(v) for v in torch.nonzero(weight < 0)[0])
            raise ValueError(f"Weights must be nonnegative, got {weight[i, j]:.3g} at [{i}, {j}].")
        return cls(safe_log(at_least_float32(weight)), candidates)

    @classmethod
    def uniform(cls, n: int, m: int | None = None) -> Dense:
        """Every one of m candidates (n when omitted, self included) is as likely."""
        return cls(torch.zeros(n, n if m is None else m))

    @property
    def n(self) -> int:
        """Number of anchors."""
        return len(self.log_p)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the log-probabilities."""
        return self.log_p.dtype

    def support(self, rows: slice) -> Support:
        """All columns of these rows."""
        return Support(None, self.log_p[rows])

    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Stored log-probabilities."""
        block = self.log_p[rows]
        return block if columns is None else block.gather(1, columns)

    def work_per_cell(self, *, gathered: bool) -> int:
        """The cell, and its index when gathered."""
        return 4 if gathered else 2
