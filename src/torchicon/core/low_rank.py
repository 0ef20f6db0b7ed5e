r"""Products of two low-rank factors, $l_i \cdot r_j$: at the edges of a graph, and the mean of their logarithms.

Neither ever holds the product of the factors beyond a tile or a byte budget.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from torchicon.core.numerics import block_bytes
from torchicon.core.streaming import Tiling

_Of = tuple[float, float, int | None]  # scale, shift, own

_NO_SECOND = (
    "{} has no second derivative. Drop create_graph=True, or write the rows down: Dense(q.log_at(None, slice(0, q.n)))."
)


def edge_products(
    left: Float[Tensor, "n c"], right: Float[Tensor, "m c"], indptr: Int[Tensor, " n1"], columns: Int[Tensor, " e"]
) -> Float[Tensor, " e"]:
    """Inner product of left[i] and right[j] for each edge (i, j) of compressed sparse rows, in O(e c) and memory O(e).

    >>> left, right = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> edge_products(left, right, torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1]))
    tensor([1., 2., 4.])
    """
    with torch.autocast(left.device.type, enabled=False):
        result: Tensor = _EdgeProducts.apply(left, right, indptr, columns)  # type: ignore[no-untyped-call]
    return result


class _EdgeProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, indptr: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(left, right, indptr, columns)
        if not len(columns):
            return left.new_zeros(0)
        # The derivative of a weighted sum by its weights is the product with what is summed. Tensors of inference mode
        # know no derivatives; their copies do.
        with torch.inference_mode(False), torch.enable_grad():
            left, right, indptr, columns = (
                x.clone() if x.is_inference() else x.detach() for x in (left, right, indptr, columns)
            )
            weight = left.new_zeros(len(columns)).requires_grad_()
            return torch.autograd.grad(_weighted_sums(weight, columns, indptr, right), weight, left)[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(_NO_SECOND.format("A product at edges"))
        left, right, indptr, columns = ctx.saved_tensors
        grad_left = grad_right = None
        if ctx.needs_input_grad[0]:
            grad_left = _weighted_sums(grad, columns, indptr, right)
        if ctx.needs_input_grad[1]:
            anchor = torch.repeat_interleave(torch.arange(len(left), device=columns.device), indptr.diff())
            column, order = torch.sort(columns)
            start = torch.searchsorted(column, torch.arange(len(right) + 1, device=columns.device))
            grad_right = _weighted_sums(grad[order], anchor[order], start, left)
        return grad_left, grad_right, None, None


def _weighted_sums(weight: Tensor, index: Tensor, indptr: Tensor, table: Tensor) -> Tensor:
    """Sums of weight[e] table[index[e]] over the edges e of each row."""
    return embedding_bag(index, table, indptr, mode="sum", per_sample_weights=weight, include_last_offset=True)


def pairs_tiling(left: Tensor, m: int, *, symmetric: bool) -> Tiling:
    """How all pairs are visited."""
    return Tiling((len(left), m), left.dtype, left.device, symmetric=symmetric, own=False, edges=None)


def sum_log_products(
    left: Float[Tensor, "n c"],
    right: Float[Tensor, "m c"],
    tiling: Tiling,
    *,
    scale: float,
    shift: float,
    own: int | None = None,
    sizes: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, " n"]:
    r"""$\sum_j \log(a \, l_i \cdot r_j + b)$ over all columns, in tiles; -inf where one product and b are 0.

    Args:
        left: (n, c) nonnegative.
        right: (m, c) nonnegative.
        tiling: from `pairs_tiling`; symmetric only with ``sizes``: a tile then serves its rows and its columns.
        scale: a > 0.
        shift: b >= 0.
        own: the column that anchor 0 is, and anchor i is i further, when these cells are left out.
        sizes: (c,) with left = right * sizes, where that holds.
    """
    with torch.autocast(left.device.type, enabled=False):
        result: Tensor = _SumLog.apply(left, right, tiling, (scale, shift, own), sizes)  # type: ignore[no-untyped-call]
    return result


class _SumLog(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, tiling: Tiling, of: _Of, sizes: Tensor | None) -> Tensor:
        keep = any(ctx.needs_input_grad) and tiling.kept_bytes(left.element_size(), block_bytes()) > 0
        total, kept, work = left.new_zeros(len(left)), [], None
        for rows, columns in tiling.tiles():
            values = _tile(left, right, rows, columns, of)
            if work is None or work.shape != values.shape:
                work = torch.empty_like(values)
            torch.log(values, out=work)
            total[rows] += work.sum(1)
            if tiling.symmetric and rows != columns:
                total[columns] += work.sum(0)
            if keep:
                kept.append(_inverse(values, rows, columns, of))
        ctx.save_for_backward(left, right, sizes, *kept)
        ctx.tiling, ctx.of = tiling, of
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(_NO_SECOND.format("A mean of log-probabilities over all pairs"))
        left, right, sizes, *kept = ctx.saved_tensors
        tiling, of = ctx.tiling, ctx.of
        grad = grad * of[0]
        need_left, need_right = ctx.needs_input_grad[:2]
        # One weight for all anchors: the gradient of right is that of left but for the sizes, since its rows are.
        shared = tiling.symmetric and bool((grad == grad[0]).all())
        grad_left = torch.zeros_like(left) if need_left or shared else None
        grad_right = torch.zeros_like(right) if need_right and not shared else None
        weighted = None if grad_right is None else left * grad[:, None]
        for t, (rows, columns) in enumerate(tiling.tiles()):
            inverse = kept[t] if kept else None
            if inverse is None:
                inverse = _inverse(_tile(left, right, rows, columns, of), rows, columns, of)
            _pull_back(inverse, rows, columns, right, weighted, grad_left, grad_right)
            if tiling.symmetric and rows != columns:
                _pull_back(inverse.T, columns, rows, right, weighted, grad_left, grad_right)
        if grad_left is not None:
            grad_left *= grad[:, None]
        if shared and need_right:
            grad_right = grad_left * sizes
        return grad_left if need_left else None, grad_right, None, None, None


def _pull_back(
    inverse: Tensor,
    rows: slice,
    columns: slice,
    right: Tensor,
    weighted: Tensor | None,
    grad_left: Tensor | None,
    grad_right: Tensor | None,
) -> None:
    if grad_left is not None:
        grad_left[rows].addmm_(inverse, right[columns])
    if grad_right is not None and weighted is not None:
        grad_right[columns].addmm_(inverse.T, weighted[rows])


def _tile(left: Tensor, right: Tensor, rows: slice, columns: slice, of: _Of) -> Tensor:
    """Values a l.r + b of a tile; 1, whose logarithm is 0, where self is left out."""
    scale, shift, own = of
    values = torch.addmm(left.new_full((1, 1), shift), left[rows], right[columns].T, alpha=scale)
    if own is not None:
        values.diagonal(own + rows.start - columns.start).fill_(1.0)
    return values


def _inverse(values: Tensor, rows: slice, columns: slice, of: _Of) -> Tensor:
    """Derivative of the logarithm by its argument, in place; 0 where that is 0 and where self is left out."""
    _, shift, own = of
    inverse = values.reciprocal_()
    if shift == 0:
        inverse.masked_fill_(inverse == math.inf, 0.0)
    if own is not None:
        inverse.diagonal(own + rows.start - columns.start).fill_(0.0)
    return inverse
