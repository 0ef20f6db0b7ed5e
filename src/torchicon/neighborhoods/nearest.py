"""k-nearest neighbors with exact distances and without the anchor itself: matrix products below a size, FAISS above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from torchicon.core.numerics import block_bytes, row_blocks

__all__ = ["Neighbors", "nearest"]

Metric = Literal["euclidean", "cosine"]

# Exact search of 50-d pixels takes 3 s at 20,000 rows on one core and grows with their square; inverted files 3 s too.
_EXACT_ROWS = 20_000
# Of inverted files; so many cells are visited. At 60,000 rows of those pixels they are 30 of 244 for 90 neighbors.
# HNSW with 32 links took as long and found .970; product quantizers were no faster once their finds were ranked.
_RECALL = 0.982
_FEWEST_VISITED = 8
_MOST_VISITED = 3  # times the root of the cells' number: of data without structure all would be too few
_AS_FAST = 1 / 8  # of the cells: to visit more takes about as long as the matrix products with all rows
_CELL_ROWS = 256
_INDEX_BYTES = 2 << 30  # vectors that take more are kept in half precision, and then in 8 bits: six times slower
_SPARE = 4  # candidates beyond k: float32 search may confuse near-ties, exact distances then decide
_GROUP = 8  # columns whose smallest stands for them
_TILE_ROWS = 1 << 17  # rows of x that one matrix product compares with
_CUDA_BYTES = 1 << 30  # of one block of distances
_JUDGED = 200  # rows whose neighbors are searched exactly as well, to set the recall, and others to measure it


@dataclass(frozen=True)
class Neighbors:
    """The k nearest neighbors of each row, nearest first, ties by index.

    Attributes:
        index: (n, k) int64, on the device of the points.
        value: (n, k) float64, squared Euclidean distances or cosine similarities.
        recall: share of the true neighbors that were found: 1.0 of an exact search, else measured on 200 seeded rows.
    """

    index: Tensor
    value: Tensor
    recall: float


def nearest(
    x: Tensor | ArrayLike,
    k: int,
    *,
    metric: Metric = "euclidean",
    queries: Tensor | ArrayLike | None = None,
) -> Neighbors:
    """The k nearest rows of x for each row of x, itself left out, or for each query.

    Exact up to 20,000 rows, and on a GPU; above, an inverted file over seeded k-means cells, of which so many are
    visited that a sample of rows finds .982 of its neighbors. Data without structure would need too many: then the
    search is exact up to about 150,000 rows, and finds less above.
    Distances are recomputed from differences in the data's own precision, float32 or float64, so that near-duplicates
    far from the origin keep theirs. A memory-mapped x is read block by block, and never copied as a whole but under
    "cosine".

    Args:
        x: (n, d) data, finite.
        k: neighbors, fewer than n (at most n for queries).
        metric: "euclidean" gives squared distances, "cosine" similarities.
        queries: (m, d) other points; their own row in x, if any, counts as a neighbor.

    Raises:
        ValueError: k out of range, data that are not finite or not (n, d), an all-zero row under "cosine".

    >>> nearest([[0.0], [1.0], [3.0]], k=1).index.squeeze(1)
    tensor([1, 0, 1])
    """
    data = _Points(x, metric, "x")
    points = data if queries is None else _Points(queries, metric, "queries")
    n, d = data.shape
    if points.shape[1] != d:
        raise ValueError(f"queries have {points.shape[1]} columns but x has {d}.")
    available = n - (queries is None)
    if not 1 <= k <= available:
        raise ValueError(
            f"k = {k} neighbors were asked for, but there are n = {n} rows"
            f"{' and a row is not its own neighbor' if queries is None else ''}: k must lie in 1 .. {available}."
        )
    frame = _Frame.of(data)
    wanted = min(k + (queries is None) + _SPARE, n)

    def exact(rows: Tensor) -> Tensor:
        return _exact_search(data, frame(points.take(rows)), frame, wanted)

    def of(rows: Tensor, how: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        return _rank(data, points, rows, how(rows), k, frame.unit, exclude_self=queries is None)

    m = len(points)
    search, recall = exact, 1.0
    is_exact = n <= _EXACT_ROWS or data.device.type != "cpu"
    if not is_exact:
        cells = _inverted_file(data, frame)

        def visit(rows: Tensor) -> Tensor:
            found = torch.from_numpy(cells.search(frame(points.take(rows)).numpy(), wanted)[1])
            short = (found < 0).any(1)  # the cells that were visited held too few rows
            if short.any():
                found[short] = exact(rows[short])
            return found

        def share(value: Tensor, farthest: Tensor) -> float:  # any of the rows at the distance of the k-th will do
            return float((value <= farthest[:, -1:]).double().mean())

        drawn = torch.from_numpy(np.random.default_rng(0).permutation(m)[: 2 * _JUDGED])
        tuned, judged = drawn[:_JUDGED], drawn[-_JUDGED:]
        target = of(tuned, exact)[1]
        most = _MOST_VISITED * cells.nlist**0.5
        while (recall := share(of(tuned, visit)[1], target)) < _RECALL and cells.nprobe < most:
            cells.nprobe += 1 + cells.nprobe // 16
        is_exact = recall < _RECALL and cells.nprobe >= _AS_FAST * cells.nlist
        search, recall = (exact, 1.0) if is_exact else (visit, share(of(judged, visit)[1], of(judged, exact)[1]))
    index = torch.empty(m, k, dtype=torch.long, device=data.device)
    value = torch.empty(m, k, dtype=torch.float64, device=data.device)
    budget = block_bytes() if data.device.type == "cpu" else _CUDA_BYTES
    per_row = max(4 * min(n, _TILE_ROWS) * is_exact, 3 * data.itemsize * wanted * d)
    for rows in torch.split(torch.arange(m, device=data.device), max(1, budget // per_row)):
        index[rows], value[rows] = of(rows, search)
    # unit rows: |a - b|^2 = 2 - 2 cos
    return Neighbors(index, 1 - value / 2 if metric == "cosine" else value, recall)


class _Points:
    """Finite (n, d) numbers, read in blocks as float32 where that holds them exactly, else as float64."""

    def __init__(self, x: Tensor | ArrayLike, metric: Metric, name: str) -> None:
        if isinstance(x, Tensor):
            x = x.detach()
            x = x.float() if x.dtype == torch.bfloat16 else x
        self._array: Any = x.numpy() if isinstance(x, Tensor) and x.device.type == "cpu" else x
        self.device = x.device if isinstance(x, Tensor) else torch.device("cpu")
        if not isinstance(self._array, Tensor):
            self._array = np.asarray(self._array)
        self.shape = tuple(self._array.shape)
        if len(self.shape) != 2:
            raise ValueError(f"{name} must be (n, d), got shape {self.shape}.")
        kind = self._array.dtype
        is_float = kind.is_floating_point if isinstance(kind, torch.dtype) else kind.kind == "f"
        self.itemsize = 4 if kind.itemsize <= (4 if is_float else 2) else 8
        self._check(name)
        if metric == "cosine":
            self._array = self._directions(name)
        elif metric != "euclidean":
            raise ValueError(f"metric must be 'euclidean' or 'cosine', got {metric!r}.")

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(self, rows: Tensor | slice) -> Tensor:
        """These rows (..., d)."""
        if isinstance(self._array, Tensor):
            return self._array[rows].to(torch.float32 if self.itemsize == 4 else torch.float64)
        block = self._array[rows.numpy() if isinstance(rows, Tensor) else rows]
        return torch.from_numpy(np.require(block, np.float32 if self.itemsize == 4 else np.float64, ["C", "W"]))

    def blocks(self) -> list[slice]:
        """Cut for passes over all rows."""
        return row_blocks(len(self), 4 * self.itemsize * self.shape[1])

    def _check(self, name: str) -> None:
        for rows in self.blocks():
            finite = self.take(rows).isfinite()
            if not finite.all():
                row, column = (int(v) for v in (~finite).nonzero()[0])
                seen = float(self.take(rows)[row, column])
                raise ValueError(f"{name} must be finite, got {seen} in row {rows.start + row}, column {column}.")

    def _directions(self, name: str) -> Any:
        unit = torch.empty(self.shape, dtype=self.take(slice(0, 0)).dtype, device=self.device)
        for rows in self.blocks():
            block = self.take(rows)
            peak = block.abs().amax(1, keepdim=True) if self.shape[1] else block.new_zeros(len(block), 1)
            if (peak == 0).any():
                raise ValueError(
                    f"Row {rows.start + int((peak == 0)[:, 0].nonzero()[0])} of {name} is all zeros, so it has no "
                    "direction: leave such rows out or use metric='euclidean'."
                )
            scaled = block / peak  # before the norm, which would overflow or underflow
            unit[rows] = scaled / scaled.norm(dim=1, keepdim=True)
        return unit.numpy() if self.device.type == "cpu" else unit


@dataclass(frozen=True)
class _Frame:
    """Where a search looks from: it forms |a|^2 + |b|^2 - 2ab in float32, so digits cancel far from the center.

    unit: a power of two to divide differences by before they are squared; 1 where squares are safe.
    """

    center: Tensor
    scale: float
    unit: float

    @classmethod
    def of(cls, data: _Points) -> _Frame:
        total = torch.zeros(data.shape[1], dtype=torch.float64, device=data.device)
        low, high = torch.full_like(total, np.inf), torch.full_like(total, -np.inf)
        for rows in data.blocks():
            block = data.take(rows)
            total += block.sum(0, dtype=torch.float64)
            low, high = torch.minimum(low, block.amin(0)), torch.maximum(high, block.amax(0))
        center = total / len(data)
        reach = torch.maximum(high - center, center - low)
        scale = max(float(reach.max()), float(np.finfo(np.float64).tiny)) if reach.any() else 1.0
        return cls(center, scale, 1.0 if 1e-12 < scale < 1e12 else 2.0 ** np.floor(np.log2(scale)))

    def __call__(self, x: Tensor) -> Tensor:
        """Points (..., d) centered and scaled, in float32."""
        return ((x - self.center) / self.scale).float()


def _exact_search(data: _Points, probe: Tensor, frame: _Frame, count: int) -> Tensor:
    """Indices of the ``count`` nearest rows: a matrix product and a selection for each tile of rows."""
    best = probe.new_empty(len(probe), 0)
    index = torch.empty(len(probe), 0, dtype=torch.long, device=probe.device)
    for start in range(0, len(data), _TILE_ROWS):
        base = frame(data.take(slice(start, start + _TILE_ROWS)))
        sq_dist = torch.addmm(base.square().sum(1), probe, base.T, alpha=-2.0)  # up to |probe|^2
        at = _least(sq_dist, min(count, len(base)))
        best, index = torch.cat([best, sq_dist.gather(1, at)], 1), torch.cat([index, at + start], 1)
        if best.shape[1] > count:
            best, at = best.topk(count, largest=False, sorted=False)
            index = index.gather(1, at)
    return index


def _least(values: Tensor, k: int) -> Tensor:
    """Columns (b, k) of the k smallest of each row (b, m), in any order.

    Only a group whose own smallest is among the k smallest of all groups can hold one: far fewer to sort.
    """
    rows, width = values.shape
    if width <= 12 * k:
        return values.topk(k, largest=False, sorted=False).indices
    groups = width // _GROUP
    whole = groups * _GROUP
    found = _least(values[:, :whole].view(rows, _GROUP, groups).amin(1), k)
    steps = torch.arange(0, whole, groups, device=values.device)
    rest = torch.arange(whole, width, device=values.device).expand(rows, -1)
    columns = torch.cat([(found[:, None, :] + steps[:, None]).flatten(1), rest], 1)
    return columns.gather(1, values.gather(1, columns).topk(k, largest=False, sorted=False).indices)


def _inverted_file(data: _Points, frame: _Frame) -> Any:
    """A FAISS index that looks into the cells nearest to a point, and gives -1 where these hold too few rows."""
    import faiss  # here, so that ``import torchicon`` stays light

    n, d = data.shape
    cells = int(np.clip(n / _CELL_ROWS, n**0.5, 4 * n**0.5))
    coarse = faiss.IndexFlatL2(d)
    quantizer = faiss.ScalarQuantizer
    index: Any
    if 4 * n * d <= _INDEX_BYTES:
        index = faiss.IndexIVFFlat(coarse, d, cells)
    else:
        kind = quantizer.QT_fp16 if 2 * n * d <= _INDEX_BYTES else quantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(coarse, d, cells, kind)
    index.cp.seed, index.cp.niter = 1234, 10
    index.cp.min_points_per_centroid = 1
    sample = np.sort(np.random.default_rng(0).permutation(n)[: 64 * cells])
    index.train(frame(data.take(torch.from_numpy(sample))).numpy())
    for rows in data.blocks():
        index.add(frame(data.take(rows)).numpy())
    index.nprobe = min(_FEWEST_VISITED, cells)
    return index


def _rank(
    data: _Points, points: _Points, rows: Tensor, found: Tensor, k: int, unit: float, *, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """The k best of the found rows by exact distance, ties by index; the anchor itself, known by index, goes last.

    A difference of two floating numbers is exact to the last digit wherever they are: float32 data need no more.
    """
    columns = found.sort(1).values
    difference = data.take(columns).sub_(points.take(rows).unsqueeze(1))
    if unit != 1.0:
        difference = difference.double() / unit
    sq_dist = torch.linalg.vecdot(difference, difference).double()
    if exclude_self:
        sq_dist[columns == rows.unsqueeze(1)] = torch.inf
    sq_dist, order = sq_dist.sort(dim=1, stable=True)
    return columns.gather(1, order[:, :k]), sq_dist[:, :k] * unit**2
