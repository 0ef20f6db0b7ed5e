"""Cluster neighborhoods: a neighbor is reached by way of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from torchicon.core import Candidates, Cluster
from torchicon.core.numerics import at_least_float32, readable


@final
@dataclass(frozen=True)
class Clusters:
    r"""Rows from cluster probabilities phi, self included (theory 1, "Kernels").

    Args:
        normalization: "cluster": $q = \sum_c \phi_{ic} \phi_{jc} / n_c$ with $n_c = \sum_k \phi_{kc}$: choose a
            cluster, then a member of it; symmetric, doubly stochastic. "point": $q = \phi_i \cdot \phi_j / \sum_k
            \phi_i \cdot \phi_k$: CRLC's critic. They are equal where clusters are of one size, or phi is hard.

    >>> Clusters()(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).dense()
    tensor([[0.5000, 0.5000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """

    normalization: Literal["cluster", "point"] = "cluster"

    def __post_init__(self) -> None:
        if self.normalization not in ("cluster", "point"):
            raise ValueError(f"normalization must be 'cluster' or 'point', got {self.normalization!r}.")

    def __call__(
        self,
        phi: Tensor,
        keys: Tensor | None = None,
        *,
        weights: Tensor | None = None,
        candidates: Candidates | None = None,
    ) -> Cluster:
        r"""Rows of anchors with cluster probabilities phi (n, c) over candidates with ``keys`` (m, c).

        ``keys`` are phi itself when omitted; give detached probabilities of an averaged teacher, or of another
        modality. Rows sum to 1 when those of phi do. A cluster without a member among the keys cannot be chosen: its
        share goes to the anchor's other clusters, and an anchor that has no other has an empty row.

        Candidates count as often as their ``weights`` d (m,) say, once when omitted. With the degrees of a graph,
        $q = \sum_c \phi_{ic} \phi_{jc} d_j / \sum_k \phi_{kc} d_k$ keeps them, $d^T q = d^T$: normalized cuts.

        Raises:
            ValueError: weights of another length, a negative one, or a negative probability (the last two are checked
                on a CPU only, and not inside ``torch.compile``: a GPU would have to wait, a graph would break).
        """
        phi = _nonnegative(at_least_float32(phi), "Cluster probabilities", "Give logits.softmax(1)")
        keys = phi if keys is None else _nonnegative(at_least_float32(keys), "Keys", "Give logits.softmax(1)")
        if weights is not None:
            keys = keys * _checked(weights, len(keys)).to(keys.dtype)[:, None]
        size = keys.sum(0)
        if self.normalization == "cluster":
            open_ = phi * (size != 0)
            share = open_.sum(1, keepdim=True)
            left = open_ * (phi.sum(1, keepdim=True) / torch.where(share == 0, 1.0, share))
            return Cluster(left, keys / torch.where(size == 0, 1.0, size), candidates)
        expected = (phi * size).sum(1, keepdim=True)  # the expected size of an anchor's cluster
        return Cluster(phi / torch.where(expected == 0, 1.0, expected), keys, candidates)


def _checked(weights: Tensor, m: int) -> Tensor:
    if weights.shape != (m,):
        raise ValueError(f"weights must have shape ({m},), one a candidate, got {tuple(weights.shape)}.")
    if readable(weights) and bool(weights.isnan().any()):
        raise ValueError("weights must be at least 0, got nan. Give degrees, for example.")
    return _nonnegative(weights, "weights", "Give degrees, for example")


def _nonnegative(values: Tensor, name: str, way_out: str) -> Tensor:
    if readable(values) and bool((values < 0).any()):  # NaN, of an encoder that diverged, shows in the loss
        raise ValueError(f"{name} must be at least 0, got {float(values.detach().min()):.3g}. {way_out}.")
    return values
