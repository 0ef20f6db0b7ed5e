r"""The streamed log-normalizer $\log \sum_j e^{s_{ij}}$: all pairs, in tiles, recomputed in the backward pass.

Only (n,) numbers are kept. When the anchors are the candidates, $s_{ij} = s_{ji}$ and a tile serves its rows and its
columns, so half of the tiles are visited. On a CUDA device the tiles are a kernel's (`torchicon.core.fused`) where it
knows the score.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from torchicon.core.fused import FusedNormalizer
from torchicon.core.numerics import block_bytes
from torchicon.core.score import Score

_LIVE_TILES = 4  # scores, their exponentials, and what the score itself keeps for its gradient
_CPU_TILE = 1024  # larger tiles leave the cache
_SAFE_RANGE = 60.0  # exp(-60) is far from float32's underflow at exp(-87)


class Tiling:
    """How the n x m cells are cut, and which cells are left out.

    Args:
        shape: (n, m).
        symmetric: the anchors are the candidates.
        own: leave out cell (i, i).
        edges: (anchor, column) of further cells to leave out, each (e,).
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
        *,
        symmetric: bool,
        own: bool,
        edges: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.n, self.m = shape
        side = max(1, math.isqrt(block_bytes() // (_LIVE_TILES * dtype.itemsize)))
        self.side = min(side, _CPU_TILE) if device.type == "cpu" else side
        self.own = own
        self.edges = edges if edges is not None and len(edges[0]) else None
        self.symmetric = symmetric and (self.edges is None or _is_symmetric(*self.edges, self.m))

    @cached_property
    def _edges_by_tile(self) -> tuple[Tensor, Tensor, list[int], int]:
        assert self.edges is not None
        anchor, column = self.edges
        across = -(-self.m // self.side)
        tile, order = torch.sort(anchor // self.side * across + column // self.side)
        count = across * -(-self.n // self.side)
        start = torch.searchsorted(tile, torch.arange(count + 1, device=tile.device))
        return anchor[order] % self.side, column[order] % self.side, start.tolist(), across

    def tiles(self) -> list[tuple[slice, slice]]:
        """Row and column slices of every tile to visit."""
        rows, columns = _cuts(self.n, self.side), _cuts(self.m, self.side)
        return [(r, c) for r in rows for c in columns if not self.symmetric or c.start >= r.start]

    def mask(self, scores: Tensor, rows: slice, columns: slice) -> Tensor:
        """Set the cells that are left out to -inf, in place."""
        if self.own and rows.start == columns.start:
            scores.fill_diagonal_(-math.inf)
        if self.edges is not None:
            row, column, start, across = self._edges_by_tile
            tile = rows.start // self.side * across + columns.start // self.side
            inside = slice(start[tile], start[tile + 1])
            scores[row[inside], column[inside]] = -math.inf
        return scores


def _cuts(n: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, n)) for start in range(0, n, side)]


def _is_symmetric(anchor: Tensor, column: Tensor, m: int) -> bool:
    return torch.equal(torch.sort(anchor * m + column).values, torch.sort(column * m + anchor).values)


def log_normalizer(
    score: Score,
    anchors: Tensor,
    keys: Tensor,
    tiling: Tiling,
    row_scale: Tensor | None = None,
    *,
    half: bool = False,
) -> Tensor:
    """Log-sum-exp over the candidates of each anchor's scores, (n,); -inf for an anchor without candidates.

    Args:
        score: the pairwise score; times ``row_scale`` (n,) where given, which gets no gradient.
        anchors: (n, d) features.
        keys: (m, d) features; the very same tensor as ``anchors`` when the tiling is symmetric.
        tiling: tiles and masks.
        half: the features are of points in half precision, and a CUDA device may round them to tf32.
    """
    result: Tensor = _LogNormalizer.apply(anchors, keys, score, tiling, row_scale, half)  # type: ignore[no-untyped-call]
    return result


class _LogNormalizer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, score: Score, tiling: Tiling, row_scale: Tensor | None, half: bool
    ) -> Tensor:
        fused = FusedNormalizer.of(score, a, b, tiling, half=half)
        with torch.autocast(a.device.type, enabled=False):
            if fused is None:
                lse = _lse_by_tiles(score, tiling, a, b, row_scale)
            else:
                lse = fused.log_normalizer(a, b, row_scale)
        ctx.save_for_backward(a, b, lse, row_scale)
        ctx.score, ctx.tiling, ctx.fused = score, tiling, fused
        return lse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True; the recomputed tiles would be taken for constants
            raise NotImplementedError(
                "The streamed normalizer has no second derivative. Drop create_graph=True, or make q of the scores "
                "yourself: Dense(scores), with memory n x m."
            )
        a, b, lse, row_scale = ctx.saved_tensors
        candidates = lse != -math.inf
        grad, lse = torch.where(candidates, grad, 0.0), torch.where(candidates, lse, 0.0)
        with torch.autocast(a.device.type, enabled=False):
            if ctx.fused is None:
                of_both = _pull_back_by_tiles(ctx.score, ctx.tiling, a, b, row_scale, lse, grad)
            else:
                of_both = ctx.fused.pull_back(a, b, row_scale, lse, grad, ctx.needs_input_grad[:2])
        return *of_both, None, None, None, None


def _lse_by_tiles(score: Score, tiling: Tiling, a: Tensor, b: Tensor, row_scale: Tensor | None) -> Tensor:
    lse = a.new_full((len(a),), -math.inf)
    shared_shift = not a.is_cuda  # the check needs the host to wait for the device
    for rows, columns in tiling.tiles():
        scores = _tile(score, tiling, a[rows], b[columns], rows, columns, row_scale)
        if not tiling.symmetric or rows == columns:
            lse[rows] = torch.logaddexp(lse[rows], scores.logsumexp(1))
            continue
        of_rows, of_columns = None, None
        if shared_shift:
            of_rows, of_columns = _shared_shift_lse(scores.clone())
            shared_shift = of_rows is not None
        of_rows = scores.logsumexp(1) if of_rows is None else of_rows
        of_columns = scores.logsumexp(0) if of_columns is None else of_columns
        lse[rows] = torch.logaddexp(lse[rows], of_rows)
        lse[columns] = torch.logaddexp(lse[columns], of_columns)
    return lse


def _pull_back_by_tiles(
    score: Score, tiling: Tiling, a: Tensor, b: Tensor, row_scale: Tensor | None, lse: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor | None]:
    grad_a, grad_b = torch.zeros_like(a), torch.zeros_like(b)
    both = grad_a if tiling.symmetric else grad_b
    for rows, columns in tiling.tiles():
        scores = _tile(score, tiling, a[rows], b[columns], rows, columns, row_scale)
        weight = _tile_gradient(scores, grad, lse, rows, columns, mirrored=tiling.symmetric and rows != columns)
        if row_scale is not None:
            weight *= row_scale[rows, None]
        of_rows, of_columns = score.pull_back(a[rows], b[columns], weight)
        grad_a[rows] += of_rows
        both[columns] += of_columns
    return grad_a, None if tiling.symmetric else grad_b


def _tile(
    score: Score, tiling: Tiling, a: Tensor, b: Tensor, rows: slice, columns: slice, row_scale: Tensor | None
) -> Tensor:
    scores = score.pairwise(a, b)
    if row_scale is not None:
        scores = scores * row_scale[rows, None]
    return tiling.mask(scores, rows, columns)


def _shared_shift_lse(scores: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Row and column log-sum-exp from one exponential of a tile, or None if its range is too wide. Consumes scores."""
    peak = float(scores.max())
    if peak == -math.inf:
        return None, None
    exponentials = scores.sub_(peak).exp_()
    of_rows, of_columns = exponentials.sum(1), exponentials.sum(0)
    if min(float(of_rows.min()), float(of_columns.min())) < math.exp(-_SAFE_RANGE):
        return None, None
    return of_rows.log_().add_(peak), of_columns.log_().add_(peak)


def _tile_gradient(scores: Tensor, grad: Tensor, lse: Tensor, rows: slice, columns: slice, *, mirrored: bool) -> Tensor:
    """Gradient (b, b') of the loss with respect to a tile's scores: g_i q_ij, and g_j q_ji if mirrored."""
    if not mirrored:
        return scores.sub_(lse[rows, None]).exp_().mul_(grad[rows, None])
    if not scores.is_cuda:
        peak = float(scores.max())
        lowest = min(float(lse[rows].min()), float(lse[columns].min()))
        if -math.inf < peak < lowest + _SAFE_RANGE:
            of_rows = grad[rows] * (peak - lse[rows]).exp()
            of_columns = grad[columns] * (peak - lse[columns]).exp()
            return scores.sub_(peak).exp_().mul_(of_rows[:, None] + of_columns)
    by_row = (scores - lse[rows, None]).exp_().mul_(grad[rows, None])
    return by_row.add_((scores - lse[columns]).exp_().mul_(grad[columns]))
