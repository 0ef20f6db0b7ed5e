r"""The divergence when a kernel becomes infinitely wide or narrow, exactly and without its trivial part (theory 3).

A kernel q with scores s has a precision h: $q_h \propto e^{h s}$. As h goes to 0 or to infinity the KL tends to
something that does not depend on s, or diverges; rescaled, what is left is PCA, MDS, average margins and triplets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchicon.core.divergence import cross_entropy, kl
from torchicon.core.errors import CandidatesError
from torchicon.core.kernel import Kernel
from torchicon.core.numerics import map_row_blocks, safe_exp_times
from torchicon.core.routes import bytes_of_support, check_support
from torchicon.core.rows import Rows, check_comparable


@final
@dataclass(frozen=True)
class LimitOfKL:
    """One number per anchor, (n,), for p and a kernel q; 0 for an empty row of p.

    Args:
        name: as printed.
        limit: from (p, q) to the limit, exactly.
        before: from (p, q, h) to the rescaled KL that tends to it as h, small, goes to 0.

    Raises:
        TypeError: q (or, for `both_wide`, p) is no kernel: only a kernel has a width.
        CandidatesError: p and q are not over the same anchors and columns.
        SupportError: p has mass where q has none.
    """

    name: str
    limit: Callable[[Rows, Rows], Tensor]
    before: Callable[[Rows, Rows, float], Tensor]

    def __call__(self, p: Rows, q: Rows) -> Tensor:
        """The limit."""
        return self.limit(p, q)

    def __repr__(self) -> str:
        """The name."""
        return self.name


def _attraction(p: Rows, q: Kernel) -> Tensor:
    """Minus the mean score under p, (n,)."""
    p.prepare()

    def block(rows: slice) -> Tensor:
        columns, log_p = p.support(rows)
        scores = q.score_at(columns, rows)
        check_support(p, q, log_p, scores, columns, rows)
        return safe_exp_times(log_p.to(scores.dtype), -scores).sum(-1)

    return map_row_blocks(block, p.n, bytes_of_support(p, q))


def _contrast(p: Rows, q: Rows, repulsion: Callable[[Kernel], Tensor]) -> Tensor:
    kernel = _comparable(p, q)
    return torch.where(p.empty_anchors(), 0.0, _attraction(p, kernel) + repulsion(kernel))


def _comparable(p: Rows, q: Rows) -> Kernel:
    check_comparable(p, q)
    return _kernel(q)


def _kernel(rows: Rows) -> Kernel:
    if not isinstance(rows, Kernel):
        raise TypeError(f"Only a kernel has a width, got {rows}: make it by a recipe such as Gaussian() or Cosine().")
    return rows


def _wide(p: Rows, q: Rows) -> Tensor:
    return _contrast(p, q, lambda kernel: kernel.mean_score(kernel.candidates))


def _before_wide(p: Rows, q: Rows, h: float) -> Tensor:
    kernel = _comparable(p, q)
    trivial = math.log(kernel.candidates.per_anchor)
    return torch.where(p.empty_anchors(), 0.0, (cross_entropy(p, kernel.tempered(h)) - trivial) / h)


def _narrow(p: Rows, q: Rows) -> Tensor:
    return _contrast(p, q, _largest_score)


def _largest_score(q: Kernel) -> Tensor:
    def block(rows: slice) -> Tensor:
        return q.score_at(None, rows).amax(-1)  # its gradient is shared by ties, as the softmax's is

    return map_row_blocks(block, q.n, q.bytes_per_row(q.m, gathered=False))


def _before_narrow(p: Rows, q: Rows, h: float) -> Tensor:
    return h * cross_entropy(p, _comparable(p, q).tempered(1 / h))


def _two_kernels(p: Rows, q: Rows) -> tuple[Kernel, Kernel]:
    learned, given = _comparable(p, q), _kernel(p)
    if given.candidates.excludes_self != learned.candidates.excludes_self:
        raise CandidatesError(
            f"Both wide, p and q must agree whether self is a candidate: {given.candidates}, {learned.candidates}. "
            "Share one Candidates object."
        )
    return given, learned


def _both_wide(p: Rows, q: Rows) -> Tensor:
    given, learned = _two_kernels(p, q)
    cells = learned.candidates.per_anchor

    def block(rows: slice) -> Tensor:
        of_p, of_q = given.score_at(None, rows), learned.score_at(None, rows)
        cell = of_q != -math.inf
        gap = torch.where(cell, of_p, 0.0) - torch.where(cell, of_q, 0.0)
        centered = torch.where(cell, gap - gap.sum(-1, keepdim=True) / cells, 0.0)
        return centered.square().sum(-1) / (2 * cells)

    return map_row_blocks(block, given.n, 2 * learned.bytes_per_row(learned.m, gathered=False))


def _before_both_wide(p: Rows, q: Rows, h: float) -> Tensor:
    given, learned = _two_kernels(p, q)
    return kl(given.tempered(h), learned.tempered(h)) / h**2


wide = LimitOfKL("wide", _wide, _before_wide)
r"""$h \to 0$ in q: $\frac1h [\mathrm{KL}_i - (\log M - H(p_i))] \to \overline{s_{i\cdot}} - \sum_j p_{ij} s_{ij}$.

PCA, VI-Reg and average margins (theory 3.1). With s = -d, $h = 1 / 2\sigma^2$.
"""

narrow = LimitOfKL("narrow", _narrow, _before_narrow)
r"""$h = \tau \to 0$, q of precision $1 / \tau$: $\tau [\mathrm{KL}_i + H(p_i)] \to
\max_k s_{ik} - \sum_j p_{ij} s_{ij}$.

Batch-hard triplets and the perceptron loss (theory 3.3).
"""

both_wide = LimitOfKL("both wide", _both_wide, _before_both_wide)
r"""$h \to 0$ in p and q: $\mathrm{KL}_i / h^2 \to \frac12 \mathrm{Var}_j (s^p_{ij} - s^q_{ij})$ over the candidates.

Multidimensional scaling of row-centered squared distances, or of distances for Laplacian kernels (theory 3.2).
"""
