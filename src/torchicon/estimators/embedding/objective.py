"""The objective of a map: KL(p || q) of positions, jointly or by rows, its gradient, and the p it starts from."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import scipy.sparse as sps
import torch
from torch import Tensor

from torchicon.core import Rows, Sparse
from torchicon.core.numerics import row_blocks
from torchicon.estimators.embedding.attraction import Attraction
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.repulsion import JointRepulsion, Repulsion, RowRepulsion
from torchicon.neighborhoods import symmetrize

__all__ = ["Normalization", "Objective", "weights"]

Normalization = Literal["joint", "row"]

_MOST_LISTED = 5_000  # points whose neighborhoods of all others are written out
_EDGES_AT_ONCE = 1 << 20


def weights(rows: Rows, normalization: Normalization) -> sps.csr_array:
    """The (n, n) weights of p: for "joint" symmetrized and summing to 1, for "row" the rows themselves.

    Raises:
        ValueError: an unknown normalization, p that is not over its own anchors, or that lists all pairs of many.
    """
    if normalization not in ("joint", "row"):
        raise ValueError(f"normalization must be 'joint' or 'row', got {normalization!r}.")
    if rows.n != rows.m or rows.n < 2:
        raise ValueError(f"p of a map is over its own two or more points, got {rows.n} anchors and {rows.m} columns.")
    p = rows if isinstance(rows, Sparse) else _listed(rows)
    log_p = p.log_p.detach()
    if normalization == "joint":
        p = symmetrize(p)
        log_p = p.log_p.detach() + p.log_mass()[p.anchor]
    parts = (log_p.double().exp().cpu().numpy(), p.columns.cpu().numpy(), p.indptr.cpu().numpy())
    return sps.csr_array(parts, shape=(p.n, p.n))


def _listed(rows: Rows) -> Sparse:
    if rows.n > _MOST_LISTED:
        raise ValueError(
            f"p = {rows} has a weight for every pair: give a map of more than {_MOST_LISTED} points sparse "
            "neighborhoods, such as NearestGaussian(30.0) or KNN(15)."
        )
    anchors, columns, listed = [], [], []
    with torch.no_grad():
        rows.prepare()
        for block in row_blocks(rows.n, rows.bytes_per_row(rows.m, gathered=False)):
            p = rows.log_at(None, block).exp()
            anchor, column = p.nonzero(as_tuple=True)
            anchors.append(anchor + block.start)
            columns.append(column)
            listed.append(p[anchor, column])
    return Sparse.from_edges(
        torch.cat(anchors), torch.cat(columns), torch.cat(listed), n=rows.n, candidates=rows.candidates
    )


class Objective:
    """KL(p || q) of positions: jointly over all pairs, or the sum of the rows. Gradients are of its mean over anchors.

    Args:
        p: (n, n) weights, see `weights`; for "row" each row sums to 1, or is empty and drops out.
        kernel: K, by which q is proportional to K(|y_i - y_j|^2), i != j.
        normalization: over all pairs, or over each row.
        dtype: of the positions.
        device: where they are.

    Raises:
        ValueError: weights that are negative or do not sum to 1, or mass of an anchor on itself.
    """

    def __init__(
        self,
        p: sps.csr_array,
        kernel: MapKernel,
        normalization: Normalization,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        device = torch.device("cpu") if device is None else device
        row_sums = p.sum(axis=1)
        _validate(p, row_sums, normalization)
        self.p, self.kernel = p, kernel
        self.anchors = 1.0 if normalization == "joint" else float((row_sums > 0).sum())
        self.attraction = Attraction(p / self.anchors, kernel, dtype, device)
        self.repulsion: Repulsion = (
            JointRepulsion(kernel)
            if normalization == "joint"
            else RowRepulsion(kernel, torch.from_numpy(row_sums / self.anchors).to(device))
        )
        positive = p.data[p.data > 0]
        self.minus_entropy = float((positive * np.log(positive)).sum())

    def gradient(self, y: Tensor, exaggeration: float = 1.0) -> tuple[Tensor, Tensor]:
        """Gradient of the mean KL with its attraction exaggerated, (n, d), and the normalizing term."""
        push, log_normalizer = self.repulsion(y)
        return push.add_(self.attraction.gradient(y), alpha=exaggeration), log_normalizer

    def value(self, y: Tensor, log_normalizer: float) -> float:
        """The KL, given the normalizing term."""
        return self.minus_entropy + self.anchors * (self.attraction.value(y) + log_normalizer)

    def exact(self, y: Tensor) -> float:
        """The KL in float64, its normalizers to about 1e-6 (see `log_normalizers`)."""
        y = y.double()
        rows = torch.from_numpy(np.repeat(np.arange(len(y)), np.diff(self.p.indptr))).to(y.device)
        columns = torch.from_numpy(self.p.indices).to(y.device)
        weight = torch.from_numpy(self.p.data).to(y.device)
        cross = 0.0
        for start in range(0, len(weight), _EDGES_AT_ONCE):
            part = slice(start, start + _EDGES_AT_ONCE)
            sq_dist = (y.index_select(0, rows[part]) - y.index_select(0, columns[part])).square().sum(1)
            cross -= float((weight[part] * self.kernel.log_value(sq_dist)).sum())
        return self.minus_entropy + cross + self.anchors * self.repulsion.exact(y)


def _validate(p: sps.csr_array, row_sums: np.ndarray, normalization: Normalization) -> None:
    if not (p.data >= 0).all():
        raise ValueError(f"p must not be negative or NaN, got {p.data.min()}.")
    own = p.diagonal() > 0
    if own.any():
        raise ValueError(f"Anchor {int(own.argmax())} has mass on itself, where q has none: leave self out.")
    if not (row_sums > 0).any():
        raise ValueError("p is empty: no anchor has a neighbor.")
    sums = np.array([row_sums.sum()]) if normalization == "joint" else row_sums
    wrong = (np.abs(sums - 1) > 1e-3) & ((sums != 0) | (normalization == "joint"))
    if wrong.any():
        what = "All of p" if normalization == "joint" else f"Row {int(wrong.argmax())} of p"
        raise ValueError(f"{what} must sum to 1, got {float(sums[wrong][0]):.6g}.")
    if not math.isfinite(float(row_sums.sum())):
        raise ValueError("p must be finite.")
