r"""The equation: $\mathrm{KL}(p_i \| q_i)$ for each anchor, its parts, and what stands behind a call."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from torchicon.core.compiled import operator
from torchicon.core.numerics import map_row_blocks, safe_exp_times
from torchicon.core.routes import GENERIC, route_of
from torchicon.core.rows import Rows, check_comparable


@operator(lambda p, q: ((p.n,), q.dtype))
def kl(p: Rows, q: Rows) -> Float[Tensor, " n"]:
    r"""Kullback-Leibler divergence of each anchor, $\sum_j p_{j|i} \log (p_{j|i} / q_{j|i})$, in nats.

    Either side may be learned: gradients flow into both. An anchor whose p-row is empty gives 0; `objective` leaves
    such anchors out of its mean.

    Raises:
        CandidatesError: p and q are not over the same anchors and columns.
        SupportError: p has mass where q has none (the value would be infinite).

    Source: I-Con, eq. 1 (theory 1).

    >>> import torch
    >>> from torchicon.core import Dense
    >>> kl(Dense.from_weights(torch.tensor([[1.0, 0.0]])), Dense.uniform(1, 2))
    tensor([0.6931])
    """
    check_comparable(p, q)
    return route_of(p, q).run(p, q, True)


@operator(lambda p, q: ((p.n,), q.dtype))
def cross_entropy(p: Rows, q: Rows) -> Float[Tensor, " n"]:
    r"""Cross-entropy of each anchor, $-\sum_j p_{j|i} \log q_{j|i}$, in nats. Linear in ``p``.

    Raises:
        CandidatesError: p and q are not over the same anchors and columns.
        SupportError: p has mass where q has none (the value would be infinite).

    >>> from torchicon.core import Dense
    >>> cross_entropy(Dense.uniform(4), Dense.uniform(4))
    tensor([1.3863, 1.3863, 1.3863, 1.3863])
    """
    check_comparable(p, q)
    return route_of(p, q).run(p, q, False)


@operator(lambda p: ((p.n,), p.dtype))
def entropy(p: Rows) -> Float[Tensor, " n"]:
    r"""Entropy of each anchor, $-\sum_j p_{j|i} \log p_{j|i}$, in nats; 0 for an empty row.

    >>> from torchicon.core import Dense
    >>> entropy(Dense.uniform(2))
    tensor([0.6931, 0.6931])
    """
    p.prepare()

    def block(rows: slice) -> Tensor:
        log_p = p.support(rows).log_p
        return safe_exp_times(log_p, -log_p).sum(-1)

    return map_row_blocks(block, p.n, p.bytes_per_row(p.width(), gathered=p.width() < p.m))


@dataclass(frozen=True)
class Explanation:
    """Which route a divergence takes and what it holds at once."""

    pair: str
    route: str
    blocks: int
    peak_bytes: int
    dense_bytes: int

    def __str__(self) -> str:
        """One line for people."""
        blocks = f"{self.blocks} block{'s' if self.blocks > 1 else ''}"
        return f"{self.pair} -> {self.route}: {blocks}, {_human(self.peak_bytes)} (dense: {_human(self.dense_bytes)})"


def explain(p: Rows, q: Rows) -> Explanation:
    """Tell how `kl` and `cross_entropy` of these two are computed, without computing them.

    >>> from torchicon.core import Dense
    >>> print(explain(Dense.uniform(100), Dense.uniform(100)))
    dense||dense -> generic: 1 block, 156 KiB (dense: 39 KiB)
    """
    check_comparable(p, q)
    route = route_of(p, q)
    plan = route.plan(p, q)
    pair = f"{type(p).__name__}||{type(q).__name__}".lower()
    return Explanation(pair, route.name, plan.blocks, plan.peak_bytes, p.n * p.m * q.dtype.itemsize)


def reference_kl(p: Rows, q: Rows) -> Float[Tensor, " n"]:
    """`kl` by the generic route whatever the structures, to hold a fast route against."""
    check_comparable(p, q)
    return GENERIC.run(p, q, True)


def _human(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
