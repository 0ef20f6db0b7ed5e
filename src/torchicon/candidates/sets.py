"""Parts of a bank, chosen for each anchor: balls, annuli, intersections with clusters, draws (theory 2.5).

Each is a `Sparse` over the bank's columns, to be the candidates of ``condition(q, on)``. None carries a gradient.
``own`` (n,) is the column of each anchor's own sample: its positive.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from torchicon.candidates._checks import require_index, require_size
from torchicon.core import Candidates, Sparse
from torchicon.core.numerics import row_blocks
from torchicon.core.score import pairwise_sq_dist


@torch.no_grad()
def ball(
    centers: Tensor, rows: Tensor, size: int, *, own: Tensor | None = None, candidates: Candidates | None = None
) -> Sparse:
    """B: the ``size`` rows nearest to each center, by Euclidean distance; on the sphere, those of the highest score.

    As in the papers on local aggregation and BALL the center is the anchor's remembered row, ``bank.rows[own]``. The
    code of local aggregation takes the current embedding; i is then in B only if it is enforced.

    Args:
        centers: (n, d).
        rows: (m, d) of the bank.
        size: members of each ball.
        own: (n,) columns that belong to their ball however far they are. Without its positive among its candidates a
            contrastive loss bounds nothing.
        candidates: identity of the columns; all m of them when omitted.

    Raises:
        ValueError: a ball larger than the bank, a column out of range, or shapes that do not match.

    >>> rows = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    >>> ball(rows[[0, 3]], rows, 2).columns
    tensor([0, 1, 2, 3])
    >>> ball(rows[[0]], rows, 2, own=torch.tensor([3])).columns
    tensor([0, 3])
    """
    require_size("size", size)
    if centers.ndim != 2 or rows.ndim != 2 or centers.shape[1] != rows.shape[1]:
        raise ValueError(
            f"centers (n, d) and rows (m, d) must share d, got {tuple(centers.shape)} and {tuple(rows.shape)}."
        )
    if size > len(rows):
        raise ValueError(f"A ball of {size} rows is larger than the bank, which has {len(rows)}.")
    if own is not None:
        _require_own(own, len(centers), len(rows))
    candidates = Candidates.all(len(rows)) if candidates is None else candidates
    columns = []
    for block in row_blocks(len(centers), 4 * len(rows) * rows.element_size()):
        sq_dist = pairwise_sq_dist(centers[block].to(rows.dtype), rows)
        if own is not None:
            sq_dist.scatter_(1, own[block, None], -1.0)
        columns.append(sq_dist.topk(size, dim=1, largest=False, sorted=False).indices)
    return Sparse.from_neighbors(torch.cat(columns), candidates=candidates)


@torch.no_grad()
def intersection(on: Sparse, cluster: Tensor, own: Tensor) -> Sparse:
    r"""$C \cap B$: the columns of ``on`` that share a cluster with the anchor's own one in some clustering.

    The p of local aggregation is ``condition(q, intersection(...))``. An anchor whose own column is not in ``on`` may
    be left with none.

    Args:
        on: (n, m) the balls B.
        cluster: (runs, m) integers; C is the union over the runs. `Clusterings` keeps them.
        own: (n,) columns of the anchors.

    Raises:
        ValueError: clusters or columns that do not fit the bank.

    >>> on = Sparse.from_neighbors(torch.tensor([[0, 1, 2]]), candidates=Candidates.all(4))
    >>> intersection(on, torch.tensor([[0, 0, 1, 1]]), torch.tensor([0])).columns
    tensor([0, 1])
    """
    close = _close(on, cluster, own)
    counts = torch.bincount(on.anchor[close], minlength=on.n)
    return Sparse(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), on.columns[close], candidates=on.candidates)


@torch.no_grad()
def annulus(on: Sparse, cluster: Tensor, own: Tensor) -> Sparse:
    r"""$\{i\} \cup (B \setminus C)$: the anchor's own column, and those of ``on`` that never share its cluster.

    Near, but not so near that they may be of the same kind. The own column stays: without it the loss bounds nothing.

    Args:
        on: (n, m) the balls B.
        cluster: (runs, m) integers; C is the union over the runs. `Clusterings` keeps them.
        own: (n,) columns of the anchors.

    Raises:
        ValueError: clusters or columns that do not fit the bank.

    >>> on = Sparse.from_neighbors(torch.tensor([[0, 1, 2]]), candidates=Candidates.all(4))
    >>> annulus(on, torch.tensor([[0, 0, 1, 1]]), torch.tensor([0])).columns
    tensor([0, 2])
    """
    return _with_own(on, ~_close(on, cluster, own), own)


@torch.no_grad()
def draw(on: Sparse, count: int, *, own: Tensor, generator: Generator) -> Sparse:
    r"""The anchor's own column and ``count`` others, drawn from ``on`` uniformly and without replacement.

    From ``ball(z, rows, size)`` they are VINCE's hard negatives, from all columns those of sampled InfoNCE. One
    float64 number in [0, 1) is drawn for every listed column, in order of anchor and column, and the smallest win.

    Args:
        on: (n, m) the sets to draw from.
        count: negatives of each anchor, K - 1.
        own: (n,) columns of the anchors; never drawn.
        generator: of the draws.

    Raises:
        ValueError: a set has fewer than ``count`` other columns, or a column is out of range.

    >>> on = Sparse.from_neighbors(torch.tensor([[0, 1, 2, 3]]), candidates=Candidates.all(4))
    >>> draw(on, 1, own=torch.tensor([2]), generator=torch.Generator().manual_seed(0)).columns
    tensor([1, 2])
    """
    require_size("count", count)
    _require_own(own, on.n, on.m)
    other = on.columns != own[on.anchor]
    available = torch.bincount(on.anchor[other], minlength=on.n)
    if int(available.min()) < count:
        i = int(available.argmin())
        raise ValueError(
            f"{count} negatives cannot be drawn for anchor {i}: its set has {int(available[i])} columns besides its "
            "own. Draw fewer, or from a larger ball."
        )
    key = torch.rand(len(on.columns), generator=generator, dtype=torch.float64, device=generator.device)
    key = torch.where(other, key.to(on.columns.device), 2.0)
    by_key = key.argsort()
    order = by_key[on.anchor[by_key].argsort(stable=True)]
    place = torch.arange(len(order), device=order.device) - on.indptr[on.anchor[order]]
    drawn = torch.zeros_like(other)
    drawn[order[place < count]] = True
    return _with_own(on, drawn, own)


def _close(on: Sparse, cluster: Tensor, own: Tensor) -> Tensor:
    """Which edges lead into a cluster of the anchor's own column, (e,)."""
    if cluster.ndim != 2 or cluster.shape[1] != on.m or cluster.is_floating_point():
        raise ValueError(
            f"cluster must be integers of shape (runs, {on.m}), a clustering of all columns in each row, got "
            f"{cluster.dtype} of shape {tuple(cluster.shape)}."
        )
    _require_own(own, on.n, on.m)
    close = torch.zeros_like(on.columns, dtype=torch.bool)
    for run in cluster:
        close |= run[on.columns] == run[own[on.anchor]]
    return close


def _with_own(on: Sparse, kept: Tensor, own: Tensor) -> Sparse:
    """The edges that are kept, and one from each anchor to its own column, which is not among them."""
    anchor = torch.cat([on.anchor[kept], torch.arange(on.n, device=own.device)])
    column = torch.cat([on.columns[kept], own])
    return Sparse.from_edges(anchor, column, n=on.n, candidates=on.candidates)


def _require_own(own: Tensor, n: int, m: int) -> None:
    require_index(own, m, "the bank")
    if len(own) != n:
        raise ValueError(f"own must have one column for each of {n} anchors, got {len(own)}.")
