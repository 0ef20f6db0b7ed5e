r"""The Triton kernels of `torchicon.core.fused`. Imported only where they run.

Both walk all cells (i, j) of x (n, d) against y (m, d): a program holds a block of rows i and passes over blocks of j,
so that scores live in registers only. They are $s_{ij} = \lambda_i f\, u(x_i, y_j)$ with an anchor's scale
$\lambda_i$, the score's factor f, and one of three functions:

    U = "inner"            u = x.y                    du/dx = y
    U = "sq_dist"          u = |x - y|^2              du/dx = 2 (x - y)
    U = "log1p_sq_dist"    u = log(1 + |x - y|^2)     du/dx = 2 (x - y) / (1 + |x - y|^2)

The constant ANCHORS says which side the anchors are on: "x", "y", or "both" where they are the candidates. An anchor
leaves out its own cell (OWN) and the columns that it has listed, LISTED of them. Row numbers are int64, since n d may
pass 2^31.
"""

from __future__ import annotations

from typing import no_type_check  # the kernels are Triton's language, not Python: no checker understands them

import triton
import triton.language as tl

_SIZES = ("n", "m", "share")  # one compilation for all of them


@triton.jit
@no_type_check
def _block(x, rows, n, columns, D: tl.constexpr):
    """Rows and columns of x (n, D), zero outside."""
    inside = (rows < n)[:, None] & (columns < D)[None, :]
    return tl.load(x + rows[:, None] * D + columns[None, :], mask=inside, other=0.0)


@triton.jit
@no_type_check
def _column(x, rows, n, column=0, D: tl.constexpr = 1):
    """One column of x (n, D), zero outside; a vector is its own."""
    return tl.load(x + rows * D + column, mask=rows < n, other=0)


@triton.jit
@no_type_check
def _products(
    x, y, sq_x, sq_y, i, j, n, m,
    U: tl.constexpr, D: tl.constexpr, STEP: tl.constexpr, DIFFERENCES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Inner products of a tile's cells, or their squared distances."""
    total = tl.zeros((i.shape[0], j.shape[0]), tl.float32)
    if DIFFERENCES:
        for k in tl.static_range(D):
            difference = _column(x, i, n, k, D)[:, None] - _column(y, j, m, k, D)[None, :]
            total += difference * difference
    else:
        # Where d takes one step the compiler reads x's block once for all j, and y's once for score and gradient.
        for start in range(0, D, STEP):
            k = start + tl.arange(0, STEP)
            total = tl.dot(_block(x, i, n, k, D), tl.trans(_block(y, j, m, k, D)), total, input_precision=PRECISION)
        if U != "inner":
            total = _column(sq_x, i, n)[:, None] + _column(sq_y, j, m)[None, :] - 2.0 * total
            total = tl.where(total < 0.0, 0.0, total)  # a maximum would lose NaN
    return total


@triton.jit
@no_type_check
def _scale(scale, i, j, n, m, ANCHORS: tl.constexpr, SCALED: tl.constexpr):
    """The anchors' scales, along their side of a tile."""
    if not SCALED:
        return 1.0
    elif ANCHORS == "y":
        return _column(scale, j, m)[None, :]
    else:
        return _column(scale, i, n)[:, None]


@triton.jit
@no_type_check
def _scores(
    product, scale, listed, i, j, n, m, factor,
    U: tl.constexpr, ANCHORS: tl.constexpr, OWN: tl.constexpr, LISTED: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Scores of a tile's cells, -inf where there is none or it is left out."""
    kept = (i < n)[:, None] & (j < m)[None, :]
    if OWN:
        kept &= i[:, None] != j[None, :]
    for e in tl.static_range(LISTED):
        if ANCHORS == "y":
            kept &= _column(listed, j, m, e, LISTED)[None, :] != i[:, None]
        else:
            kept &= _column(listed, i, n, e, LISTED)[:, None] != j[None, :]
    u = tl.log(1.0 + product) if U == "log1p_sq_dist" else product
    return tl.where(kept, u * factor * _scale(scale, i, j, n, m, ANCHORS, SCALED), float("-inf"))


@triton.jit(do_not_specialize=_SIZES)
@no_type_check
def log_normalizer(
    x, y, sq_x, sq_y, scale, listed, result, n, m, factor, share,
    U: tl.constexpr, D: tl.constexpr, DIFFERENCES: tl.constexpr, PRECISION: tl.constexpr,
    OWN: tl.constexpr, LISTED: tl.constexpr, SCALED: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    r"""$\log \sum_j e^{s_{ij}}$ of the anchors x over one share of y's rows, into result (shares, n)."""
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1) * share
    peak = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)  # sum_j exp(s_ij - peak_i) so far
    for start in range(first, tl.minimum(first + share, m), COLUMNS):
        j = (start + tl.arange(0, COLUMNS)).to(tl.int64)
        product = _products(x, y, sq_x, sq_y, i, j, n, m, U, D, STEP, DIFFERENCES, PRECISION)
        s = _scores(product, scale, listed, i, j, n, m, factor, U, "x", OWN, LISTED, SCALED)
        higher = tl.maximum(peak, tl.max(s, 1))
        shift = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen yet: -inf - -inf would be NaN
        total = total * tl.exp(peak - shift) + tl.sum(tl.exp(s - shift[:, None]), 1)
        peak = higher
    tl.store(result + tl.program_id(1).to(tl.int64) * n + i, peak + tl.log(total), mask=i < n)


@triton.jit(do_not_specialize=_SIZES)
@no_type_check
def pull_back(
    x, y, sq_x, sq_y, scale, listed, lse, grad, result, n, m, factor, share,
    U: tl.constexpr, D: tl.constexpr, DIFFERENCES: tl.constexpr, PRECISION: tl.constexpr,
    ANCHORS: tl.constexpr, OWN: tl.constexpr, LISTED: tl.constexpr, SCALED: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, DIMS: tl.constexpr,
):  # fmt: skip
    r"""Gradient with respect to x, over one share of y's rows: $\sum_j w_{ij}\, \partial s_{ij} / \partial x_i$.

    The weight is $g_i q_{ij}$ where x are the anchors, $g_j q_{ji}$ where y are, and their sum where both are, with
    $q_{ij} = e^{s_{ij} - \mathrm{lse}_i}$: scores and one product a tile are all that a symmetric gradient needs.
    A program fills DIMS columns of result (shares, n, D); where d is larger, scores are made again for each block.
    """
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1) * share
    k = tl.arange(0, DIMS)
    if D > DIMS:  # else a constant, which lets the compiler see that score and gradient read one block of y
        k += tl.program_id(2) * DIMS
    pulled = tl.zeros((ROWS, DIMS), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(first, tl.minimum(first + share, m), COLUMNS):
        j = (start + tl.arange(0, COLUMNS)).to(tl.int64)
        product = _products(x, y, sq_x, sq_y, i, j, n, m, U, D, STEP, DIFFERENCES, PRECISION)
        s = _scores(product, scale, listed, i, j, n, m, factor, U, ANCHORS, OWN, LISTED, SCALED)
        weight = tl.zeros((ROWS, COLUMNS), tl.float32)
        if ANCHORS != "y":
            weight += _column(grad, i, n)[:, None] * tl.exp(s - _column(lse, i, n)[:, None])
        if ANCHORS != "x":
            weight += _column(grad, j, m)[None, :] * tl.exp(s - _column(lse, j, m)[None, :])
        weight *= factor * _scale(scale, i, j, n, m, ANCHORS, SCALED)
        if U != "inner":
            weight *= 2.0
        if U == "log1p_sq_dist":
            weight /= 1.0 + product
        if DIFFERENCES:
            for column in tl.static_range(D):
                difference = _column(x, i, n, column, D)[:, None] - _column(y, j, m, column, D)[None, :]
                pulled += tl.where(k == column, tl.sum(weight * difference, 1)[:, None], 0.0)
        else:
            if PRECISION == "tf32":  # rounded for both uses: sum_j w_ij x_i and sum_j w_ij y_j cancel where x is near y
                bits = (weight.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
                weight = tl.where(weight == weight, bits.to(tl.float32, bitcast=True), weight)
            pulled = tl.dot(weight, _block(y, j, m, k, D), pulled, input_precision=PRECISION)
            total += tl.sum(weight, 1)
    if U != "inner" and not DIFFERENCES:
        pulled = total[:, None] * _block(x, i, n, k, D) - pulled
    row = tl.program_id(1).to(tl.int64) * n + i
    tl.store(result + row[:, None] * D + k[None, :], pulled, mask=(i < n)[:, None] & (k < D)[None, :])
