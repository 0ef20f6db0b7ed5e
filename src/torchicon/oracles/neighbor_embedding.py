"""SNE and t-SNE by closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import squareform
from scipy.special import rel_entr
from sklearn.manifold import _t_sne

from torchicon.oracles.affinities import Matrix, conditional, squared_distances
from torchicon.oracles.registry import Oracle, Pair, Problem


def sne(problem: Problem) -> Pair:
    """Hinton & Roweis 2002: sum of row KLs, gradient 2 sum_j (y_i - y_j)(p_ij - q_ij + p_ji - q_ji)."""
    p, z = conditional(problem["x"].numpy()), problem["z"].numpy()
    kernel = np.exp(-squared_distances(z))
    return _rowwise(p, z, kernel, np.ones_like(kernel))


def tsne_row(problem: Problem) -> Pair:
    """The row form: the same gradient, each pair weighted by its kernel 1 / (1 + d)."""
    p, z = conditional(problem["x"].numpy()), problem["z"].numpy()
    kernel = 1 / (1 + squared_distances(z))
    return _rowwise(p, z, kernel, kernel)


def _rowwise(p: Matrix, z: Matrix, kernel: Matrix, pull: Matrix) -> Pair:
    kernel = kernel.copy()
    np.fill_diagonal(kernel, 0.0)
    q = kernel / kernel.sum(1, keepdims=True)
    excess = (p - q) * pull
    force = excess + excess.T
    gradient = 2 * (force.sum(1, keepdims=True) * z - force @ z)
    return torch.tensor(rel_entr(p, q).sum()), torch.tensor(gradient)


def tsne_joint(problem: Problem) -> Pair:
    """van der Maaten & Hinton 2008 by scikit-learn's own objective and gradient."""
    x, z = problem["x"].numpy(), problem["z"].numpy()
    p = conditional(x, neighbors=15)
    joint = (p + p.T) / p.sum() / 2
    condensed = squareform(joint, checks=False)
    # scikit-learn lifts P to machine epsilon: its KL counts cells that have no mass. It changes nothing above 1e-12.
    value, gradient = _t_sne._kl_divergence(z.ravel(), condensed, 1.0, len(z), z.shape[1])
    return torch.tensor(value), torch.tensor(gradient.reshape(z.shape))


ORACLES: dict[str, Oracle] = {"sne": sne, "tsne_joint": tsne_joint, "tsne_row": tsne_row}
