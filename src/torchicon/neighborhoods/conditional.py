"""A neighborhood within a part of its candidates, chosen for each anchor."""

from __future__ import annotations

import torch
from torch import Tensor

from torchicon.core import Kernel, Rows, Sparse
from torchicon.core.numerics import map_row_blocks
from torchicon.core.routes import bytes_of_support
from torchicon.core.rows import check_comparable


def condition(q: Rows, on: Sparse) -> Sparse:
    r"""q given that the neighbor is among the edges of ``on``: $q_{j|i} / \sum_{k \in S_i} q_{k|i}$ for j in $S_i$.

    The p that makes KL(p || q) smallest among all p with
    support in S, where it is $-\log q(S)$: local aggregation and SupCon-in (theory 4b). Differentiable in q; detach
    nothing, since at the minimum the gradient through p is zero. For q's own candidates there is `within`.

    Args:
        q: (n, m) rows; of a kernel only the listed cells are scored.
        on: (n, m) the sets S_i; its weights do not matter.

    Raises:
        CandidatesError: the two are not over the same anchors and columns.
        ValueError: an edge leads to the anchor itself, where q excludes self.

    >>> from torchicon.core import Dense
    >>> q = Dense.from_weights(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> on = Sparse.from_neighbors(torch.tensor([[0, 2]]), candidates=q.candidates)
    >>> condition(q, on).dense()
    tensor([[0.2500, 0.0000, 0.7500]])
    """
    return _conditioned(q, on, own_candidates=False)


def _conditioned(q: Rows, on: Sparse, *, own_candidates: bool) -> Sparse:
    check_comparable(on, q)
    score = q.score_at if isinstance(q, Kernel) else q.log_at  # the normalizer cancels

    def block(rows: slice) -> Tensor:
        columns, _ = on.support(rows)
        assert columns is not None, "a sparse support lists its columns"
        listed = torch.arange(columns.shape[1], device=columns.device) < on.counts[rows, None]  # the rest is padding
        return score(columns, rows)[listed]

    log_weight = map_row_blocks(block, on.n, bytes_of_support(on, q)) if len(on.columns) else on.log_p
    return Sparse(on.indptr, on.columns, log_weight, candidates=q.candidates, own_candidates=own_candidates)


def within(q: Rows, on: Sparse) -> Sparse:
    """`condition`, with the edges of ``on`` as an anchor's only candidates: a softmax over a ball or an annulus.

    The numbers are those of `condition`; `debias` spreads over the edges instead of all columns.

    >>> from torchicon.core import Dense
    >>> from torchicon.neighborhoods import debias
    >>> q = Dense.from_weights(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> on = Sparse.from_neighbors(torch.tensor([[0, 2]]), candidates=q.candidates)
    >>> debias(within(q, on), 0.5).dense()
    tensor([[0.3750, 0.0000, 0.6250]])
    """
    return _conditioned(q, on, own_candidates=True)
