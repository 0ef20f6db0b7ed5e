"""PCA by scikit-learn."""

from __future__ import annotations

import torch
from sklearn.decomposition import PCA

from torchicon.oracles.registry import Oracle, Pair, Problem


def total_variance(problem: Problem) -> Pair:
    """Minus the scatter around the mean: what PCA maximizes, by scikit-learn's explained variance."""
    z = problem["z"].numpy()
    variance = PCA().fit(z).explained_variance_.sum() * (len(z) - 1)
    return torch.tensor(-variance), torch.tensor(-2 * (z - z.mean(0)))


ORACLES: dict[str, Oracle] = {"total_variance": total_variance}
