r"""The streamed log-normalizer $\log \sum_j e^{s_{ij}}$: all pairs, in tiles, recomputed in the backward pass.

Only (n,) numbers are kept. When the anchors are the candidates, $s_{ij} = s_{ji}$ and a tile serves its rows and its
columns, so half of the tiles are visited. On a CUDA device the tiles are a kernel's (`torchicon.core.fused`) where it
knows the score.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchicon.core.fused import FusedNormalizer
from torchicon.core.numerics import block_bytes
from torchicon.core.score import Score

_LIVE_TILES = 4  # scores, their exponentials, and what the score itself keeps for its gradient
_CPU_TILE = 1024  # larger tiles leave the cache
_SMALLEST_TILE = 256  # smaller ones cost more to begin than to fill
_KEPT_BYTES = 2**24  # of score tiles, for backward: some 2,500 anchors among themselves
_SAFE_RANGE = 60.0  # exp(-60) and exp(60) are far from where float32 ends, at exp(-87) and exp(88)
_SMALLEST, _LARGEST = math.exp(-_SAFE_RANGE), math.exp(_SAFE_RANGE)


class Tiling:
    """How the n x m cells are cut, and which cells are left out.

    Args:
        shape: (n, m).
        symmetric: the anchors are the candidates.
        own: leave out cell (i, i).
        edges: (anchor, column) of further cells to leave out, each (e,).
        groups: (n,) of the anchors and (m,) of the columns; cells of one group are left out too.
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
        groups: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.n, self.m = shape
        side = max(1, math.isqrt(block_bytes() // (_LIVE_TILES * dtype.itemsize)))
        if device.type == "cpu":  # two tiles across where one could hold all: symmetry then saves some
            side = min(side, _CPU_TILE, max(_SMALLEST_TILE, -(-max(shape) // 2)))
        self.side = side
        self.own = own
        self.edges = edges if edges is not None and len(edges[0]) else None
        self.groups = groups
        self.symmetric = symmetric and (self.edges is None or _is_symmetric(*self.edges, self.m))
        if groups is not None and groups[0] is not groups[1]:
            self.symmetric = False

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

    def kept_bytes(self, itemsize: int, most: int) -> int:
        """Bytes of all tiles where they are at most so many and are kept for backward, else 0: computed again."""
        cells = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in self.tiles())
        return cells * itemsize if cells * itemsize <= min(most, block_bytes()) else 0

    def kept_scores(self, itemsize: int) -> int:
        """Bytes of score tiles kept for backward: more would take longer to write than to compute again."""
        return self.kept_bytes(itemsize, _KEPT_BYTES)

    def mask(self, scores: Tensor, rows: slice, columns: slice) -> Tensor:
        """Set the cells that are left out to -inf, in place."""
        if self.own and rows.start == columns.start:
            scores.fill_diagonal_(-math.inf)
        if self.edges is not None:
            row, column, start, across = self._edges_by_tile
            tile = rows.start // self.side * across + columns.start // self.side
            inside = slice(start[tile], start[tile + 1])
            scores[row[inside], column[inside]] = -math.inf
        if self.groups is not None:
            of_rows, of_columns = self.groups
            scores.masked_fill_(of_rows[rows, None] == of_columns[columns], -math.inf)
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


class _Shifts(NamedTuple):
    """Of the first tiles, as far as one shift brought the sums of all their rows and columns in range.

    of_tile: what was subtracted from the scores of each.
    kept: the exponentials of the rest; of no tile, where they are computed again.
    """

    of_tile: list[float]
    kept: list[Tensor]


class _LogNormalizer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, score: Score, tiling: Tiling, row_scale: Tensor | None, half: bool
    ) -> Tensor:
        fused = FusedNormalizer.of(score, a, b, tiling, half=half)
        shifts = _Shifts([], [])
        with torch.autocast(a.device.type, enabled=False):
            if fused is None:
                keep = any(ctx.needs_input_grad) and tiling.kept_scores(a.element_size()) > 0
                lse = _lse_by_tiles(score, tiling, a, b, row_scale, shifts, keep=keep)
            else:
                lse = fused.log_normalizer(a, b, row_scale)
        ctx.save_for_backward(a, b, lse, row_scale, *shifts.kept)
        ctx.score, ctx.tiling, ctx.fused, ctx.shifts = score, tiling, fused, shifts.of_tile
        return lse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True; the recomputed tiles would be taken for constants
            raise NotImplementedError(
                "The streamed normalizer has no second derivative. Drop create_graph=True, or make q of the scores "
                "yourself: Dense(scores), with memory n x m."
            )
        a, b, lse, row_scale, *kept = ctx.saved_tensors
        shifts = _Shifts(ctx.shifts, kept)
        learned = ctx.needs_input_grad[:2]
        candidates = lse != -math.inf
        grad, lse = torch.where(candidates, grad, 0.0), torch.where(candidates, lse, 0.0)
        with torch.autocast(a.device.type, enabled=False):
            if ctx.fused is None:
                of_both = _pull_back_by_tiles(ctx.score, ctx.tiling, a, b, row_scale, shifts, lse, grad, learned)
            else:
                of_both = ctx.fused.pull_back(a, b, row_scale, lse, grad, learned)
        return *of_both, None, None, None, None


def _lse_by_tiles(
    score: Score, tiling: Tiling, a: Tensor, b: Tensor, row_scale: Tensor | None, shifts: _Shifts, *, keep: bool
) -> Tensor:
    lse = a.new_full((len(a),), -math.inf)
    # 2: without a shift; 1: the tile's largest score as shift; 0: row by row, where a check would keep a GPU waiting.
    tries = 0 if a.is_cuda else 2
    for rows, columns in tiling.tiles():
        mirrored = tiling.symmetric and rows != columns
        scores = _tile(score, tiling, a[rows], b[columns], rows, columns, row_scale)
        while tries:
            shift = 0.0 if tries == 2 else float(scores.max())
            exponentials = _shifted_exp(scores, shift)
            sums = (exponentials.sum(1), exponentials.sum(0)) if mirrored else (exponentials.sum(1),)
            if all(float(of.min()) >= _SMALLEST and float(of.max()) <= _LARGEST for of in sums):  # never with NaN
                shifts.of_tile.append(shift)
                if keep:
                    shifts.kept.append(exponentials)
                for cells, of in zip((rows, columns), sums, strict=False):
                    lse[cells] = torch.logaddexp(lse[cells], of.log_().add_(shift))
                break
            tries -= 1
            scores = _tile(score, tiling, a[rows], b[columns], rows, columns, row_scale)
        else:
            lse[rows] = torch.logaddexp(lse[rows], scores.logsumexp(1))
            if mirrored:
                lse[columns] = torch.logaddexp(lse[columns], scores.logsumexp(0))
    return lse


def _shifted_exp(scores: Tensor, shift: float) -> Tensor:
    """Exponentials of the scores less the shift, in place."""
    return (scores.sub_(shift) if shift else scores).exp_()


def _pull_back_by_tiles(
    score: Score,
    tiling: Tiling,
    a: Tensor,
    b: Tensor,
    row_scale: Tensor | None,
    shifts: _Shifts,
    lse: Tensor,
    grad: Tensor,
    learned: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None]:
    """Gradients of a and of b, of what is learned; of both in one where the anchors are the candidates."""
    grad_a, grad_b = torch.zeros_like(a), None if tiling.symmetric or not learned[1] else torch.zeros_like(b)
    work = a.new_empty(min(tiling.side, tiling.n) * min(tiling.side, tiling.m))
    for t, (rows, columns) in enumerate(tiling.tiles()):
        shift = shifts.of_tile[t] if t < len(shifts.of_tile) else None
        if t < len(shifts.kept):
            tile = shifts.kept[t]
        else:
            tile = _tile(score, tiling, a[rows], b[columns], rows, columns, row_scale)
            tile = tile if shift is None else _shifted_exp(tile, shift)
        weight = _tile_gradient(tile, shift, grad, lse, rows, columns, work, mirrored=tiling.symmetric)
        if row_scale is not None:
            weight *= row_scale[rows, None]
        of_both = grad_a if tiling.symmetric else grad_b
        if of_both is None or (tiling.symmetric and rows == columns):  # a mirrored tile's columns are its rows
            grad_a[rows] += score.pull_back_one(a[rows], b[columns], weight)
            continue
        of_rows, of_columns = score.pull_back(a[rows], b[columns], weight)
        grad_a[rows] += of_rows
        of_both[columns] += of_columns
    return grad_a, grad_b


def _tile(
    score: Score, tiling: Tiling, a: Tensor, b: Tensor, rows: slice, columns: slice, row_scale: Tensor | None
) -> Tensor:
    scores = score.pairwise(a, b)
    if row_scale is not None:
        scores = scores * row_scale[rows, None]
    return tiling.mask(scores, rows, columns)


def _tile_gradient(
    tile: Tensor,
    shift: float | None,
    grad: Tensor,
    lse: Tensor,
    rows: slice,
    columns: slice,
    work: Tensor,
    *,
    mirrored: bool,
) -> Tensor:
    """Gradient (b, b') of the loss with respect to a tile's scores: g_i q_ij, and if mirrored g_j q_ji too.

    Args:
        tile: scores, which are overwritten; or their exponentials less ``shift``, which are not.
        work: memory for a tile: fresh memory would take as long as what is written there.
    """
    work = work[: tile.numel()].view(tile.shape)
    if mirrored and shift is None and not tile.is_cuda:
        lowest = min(float(lse[rows].min()), float(lse[columns].min()))
        highest = float(tile.max())
        if -math.inf < highest < lowest + _SAFE_RANGE:
            tile, shift = _shifted_exp(tile, highest), highest
    if shift is not None:  # a row's lse is less than _SAFE_RANGE below
        factor = (grad[rows] * (shift - lse[rows]).exp())[:, None]
        if mirrored:
            factor = torch.add(factor, grad[columns] * (shift - lse[columns]).exp(), out=work)
        return torch.mul(tile, factor, out=work)
    if not mirrored:
        return tile.sub_(lse[rows, None]).exp_().mul_(grad[rows, None])
    by_column = torch.sub(tile, lse[columns], out=work).exp_().mul_(grad[columns])
    return tile.sub_(lse[rows, None]).exp_().mul_(grad[rows, None]).add_(by_column)
