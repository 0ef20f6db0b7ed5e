"""PCA and multidimensional scaling by scikit-learn, classical scaling's Gram matrices and their gradients."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.manifold import smacof

from torchicon.oracles.registry import Oracle, Pair, Problem


def total_variance(problem: Problem) -> Pair:
    """Minus the scatter around the mean: what PCA maximizes, by scikit-learn's explained variance."""
    z = problem["z"].numpy()
    variance = PCA().fit(z).explained_variance_.sum() * (len(z) - 1)
    return torch.tensor(-variance), torch.tensor(-2 * (z - z.mean(0)))


def row_centered_stress(problem: Problem) -> Pair:
    """Kruskal 1964's raw stress over n - 1, less half of the squared mean residual of each row.

    The stress's gradient is 2n (z - Guttman transform of z) for centered z, and one step of scikit-learn's SMACOF is
    that transform (de Leeuw 1977).
    """
    x, z = problem["x"].numpy(), problem["z"].numpy()
    given, seen = pdist(x), pdist(z)
    others = len(z) - 1
    stress = ((given - seen) ** 2).sum()
    guttman, _ = smacof(squareform(given), init=z.copy(), n_init=1, max_iter=1, normalized_stress=False)
    mean = squareform(given - seen).sum(1) / others
    value = stress / others - (mean**2).sum() / 2
    gradient = 2 * len(z) * (z - z.mean(0) - guttman) / others
    for i in range(len(z)):
        for j in range(len(z)):
            if i != j:
                gradient[i] += (mean[i] + mean[j]) / others * (z[i] - z[j]) / np.linalg.norm(z[i] - z[j])
    return torch.tensor(value), torch.tensor(gradient)


def strain_and_norms(problem: Problem) -> Pair:
    """Classical scaling: (4 |X X' - Z Z'|_F^2 + n sum_j e_j^2) / 2n of centered points, e the centered difference of
    their squared norms (the centered column means of the squared distances' difference; theory 3.2).
    """
    x, z = (problem[name].numpy() - problem[name].numpy().mean(0) for name in ("x", "z"))
    strain = x @ x.T - z @ z.T
    norms = (x**2).sum(1) - (z**2).sum(1)
    norms -= norms.mean()
    value = (4 * np.linalg.norm(strain) ** 2 + len(z) * norms @ norms) / (2 * len(z))
    gradient = -8 * strain @ z / len(z) - 2 * norms[:, None] * z
    return torch.tensor(value), torch.tensor(gradient - gradient.mean(0))


ORACLES: dict[str, Oracle] = {
    "total_variance": total_variance,
    "row_centered_stress": row_centered_stress,
    "strain_and_norms": strain_and_norms,
}
