"""The close sets C of local aggregation: clusterings of a bank, found anew from time to time and kept in between."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from torchicon.candidates._checks import require_size


@final
class Clusterings(nn.Module):
    """Several k-means clusterings of a bank; C of a row is the union of its clusters (Zhuang et al. 2019; theory 2.5).

    They change only in `fit`, usually once an epoch, and travel in the ``state_dict`` together with the count of fits,
    so that a resumed run draws the same starts. The paper uses 10 runs of 30,000 clusters on ImageNet, of 300 on
    CIFAR-10.

    Args:
        n: rows of the bank.
        runs: clusterings.
        seed: of the starts.

    Attributes:
        cluster: (runs, n) integers, for `intersection` and `annulus`. All 0 before the first fit: everything is close.
        fits: how many fits there were.

    >>> rows = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> clusterings = Clusterings(4, runs=1)
    >>> clusterings.fit(rows, 2)
    >>> (clusterings.cluster == clusterings.cluster[:, :1]).tolist()
    [[True, True, False, False]]
    """

    cluster: Tensor
    fits: Tensor

    def __init__(self, n: int, *, runs: int = 10, seed: int = 0) -> None:
        super().__init__()
        require_size("n", n)
        require_size("runs", runs)
        self.seed = seed
        self.register_buffer("cluster", torch.zeros(runs, n, dtype=torch.long))
        self.register_buffer("fits", torch.zeros((), dtype=torch.long))

    def fit(self, rows: Tensor, n_clusters: int) -> None:
        """Cluster the bank's rows (n, d), each run from its own start. More clusters make smaller sets C.

        Raises:
            ValueError: rows that are not finite or not (n, d), or more clusters than rows.
        """
        runs, n = self.cluster.shape
        require_size("n_clusters", n_clusters)
        if rows.ndim != 2 or len(rows) != n or not rows.isfinite().all():
            raise ValueError(f"The bank has {n} rows: give finite rows ({n}, d), got shape {tuple(rows.shape)}.")
        if n_clusters > n:
            raise ValueError(f"{n} rows cannot make {n_clusters} clusters.")
        import faiss  # here, so that ``import torchicon`` stays light

        data = np.ascontiguousarray(rows.detach().cpu().numpy(), dtype=np.float32)
        first = self.seed + int(self.fits) * runs
        for run in range(runs):
            kmeans = faiss.Kmeans(data.shape[1], n_clusters, seed=first + run, min_points_per_centroid=1)
            kmeans.train(data)
            self.cluster[run] = torch.from_numpy(kmeans.index.search(data, 1)[1][:, 0])
        self.fits += 1

    def extra_repr(self) -> str:
        """Size and number of runs."""
        return f"{self.cluster.shape[1]}, runs={self.cluster.shape[0]}"
