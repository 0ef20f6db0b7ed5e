"""SNE and t-SNE by closed forms and scikit-learn's kernels, graphs and objective."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import squareform
from scipy.special import rel_entr
from sklearn.gaussian_process.kernels import RationalQuadratic
from sklearn.manifold import _t_sne
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize

from torchicon.oracles.affinities import Matrix, conditional, squared_distances
from torchicon.oracles.registry import Oracle, Pair, Problem

DEGREES_OF_FREEDOM, NEIGHBORS = 3.0, 5  # the examples'


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


def dual_tsne(problem: Problem) -> Pair:
    """p from the rational quadratic kernel (alpha = 1, length sqrt(1/2)) of the points, self out; q as SNE's."""
    return _gaussian_map(_rational(problem["x"].numpy()), problem)


def doubly_tsne(problem: Problem) -> Pair:
    """The same p; q as t-SNE's, by the same kernel."""
    return _student_map(_rational(problem["x"].numpy()), problem)


def _rational(x: Matrix) -> Matrix:
    kernel = RationalQuadratic(alpha=1.0, length_scale=np.sqrt(0.5))(x)
    return np.asarray(normalize(kernel - np.eye(len(x)), norm="l1"))


def sne_graph(problem: Problem) -> Pair:
    """p by scikit-learn's L1 normalization of the adjacency matrix."""
    return _gaussian_map(normalize(problem["weight"].numpy(), norm="l1"), problem)


def tsne_graph(problem: Problem) -> Pair:
    """The same p, heavy tails."""
    return _student_map(normalize(problem["weight"].numpy(), norm="l1"), problem)


def sne_uniform(problem: Problem) -> Pair:
    """p by scikit-learn's graph of the nearest, directed."""
    return _gaussian_map(_nearest(problem), problem)


def tsne_uniform(problem: Problem) -> Pair:
    """The same p, heavy tails."""
    return _student_map(_nearest(problem), problem)


def _nearest(problem: Problem) -> Matrix:
    graph = kneighbors_graph(problem["x"].numpy(), NEIGHBORS, mode="connectivity", include_self=False)
    return np.asarray(graph.toarray() / NEIGHBORS)


def _gaussian_map(p: Matrix, problem: Problem) -> Pair:
    z = problem["z"].numpy()
    return _rowwise(p, z, rbf_kernel(z, gamma=1.0), np.ones_like(p))


def _student_map(p: Matrix, problem: Problem) -> Pair:
    z = problem["z"].numpy()
    kernel = RationalQuadratic(alpha=1.0, length_scale=np.sqrt(0.5))(z)
    return _rowwise(p, z, kernel, kernel)


def tsne_joint(problem: Problem) -> Pair:
    """van der Maaten & Hinton 2008 by scikit-learn's own objective and gradient."""
    z, joint = problem["z"].numpy(), _joint(problem)
    # scikit-learn lifts P to machine epsilon: its KL counts cells that have no mass. It changes nothing above 1e-12.
    value, gradient = _t_sne._kl_divergence(z.ravel(), squareform(joint, checks=False), 1.0, len(z), z.shape[1])
    return torch.tensor(value), torch.tensor(gradient.reshape(z.shape))


def tsne_df(problem: Problem) -> Pair:
    """van der Maaten 2009: scikit-learn's objective; its gradient is wrong for nu other than 1, so that by hand.

    (2 (nu + 1) / nu) sum_j (P_ij - Q_ij) (y_i - y_j) / (1 + d_ij / nu), one pair at a time.
    """
    z, joint, nu = problem["z"].numpy(), _joint(problem), DEGREES_OF_FREEDOM
    value, _ = _t_sne._kl_divergence(z.ravel(), squareform(joint, checks=False), nu, len(z), z.shape[1])
    heavy = 1 + squared_distances(z) / nu
    q = heavy ** (-(nu + 1) / 2) - np.eye(len(z))
    q /= q.sum()
    gradient = np.zeros_like(z)
    for i in range(len(z)):
        for j in range(len(z)):
            gradient[i] += 2 * (nu + 1) / nu * (joint[i, j] - q[i, j]) * (z[i] - z[j]) / heavy[i, j]
    return torch.tensor(value), torch.tensor(gradient)


def _joint(problem: Problem) -> Matrix:
    p = conditional(problem["x"].numpy(), neighbors=15)
    return np.asarray((p + p.T) / p.sum() / 2)


ORACLES: dict[str, Oracle] = {
    "sne": sne,
    "tsne_row": tsne_row,
    "tsne_joint": tsne_joint,
    "tsne_df": tsne_df,
    "dual_tsne": dual_tsne,
    "doubly_tsne": doubly_tsne,
    "sne_graph": sne_graph,
    "tsne_graph": tsne_graph,
    "sne_uniform": sne_uniform,
    "tsne_uniform": tsne_uniform,
}
