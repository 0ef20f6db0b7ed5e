"""One structure a class, by two hooks: ``rows`` makes it from points, ``dense`` says what its matrix must be.

The second shares no code with torchicon. Square structures have the points (7, 3) as anchors and as columns; the others
have five columns made of the points, so that gradients reach both sides.
"""

import math
from abc import ABC, abstractmethod

import torch

from torchicon.core import Candidates, Dense, Mixture, Raised, Sparse
from torchicon.neighborhoods import Clusters, Cosine, Dot, Gaussian, StudentT

N, M, D = 7, 5, 3
SCALE = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0, 0.7, 1.3], dtype=torch.float64)
GRAPH = ((0, 3), (0, 1), (1, 4), (2, 0), (2, 1), (2, 3), (4, 2), (5, 3), (5, 4), (6, 2))  # no edge leaves 3
MASKED = ((0, 2), (2, 0), (2, 4), (3, 3), (5, 1))


def keys_of(x):
    return 1.5 * x[:M] + 0.3


def sq_dist(a, b):
    return (a[:, None] - b).square().sum(-1)


def normalized(weight, *, without_self=False):
    """Rows of weights divided by their sum; empty rows stay 0."""
    if without_self:
        weight = weight * (1 - torch.eye(len(weight), dtype=weight.dtype))
    total = weight.sum(1, keepdim=True)
    return weight / torch.where(total == 0, 1.0, total)


class Structure(ABC):
    """Two hooks. ``order`` relabels the columns, and the anchors with them if the structure is square."""

    square = True
    half_error = 1e-5  # largest error of a probability when the points are half precision; arithmetic is float32

    @abstractmethod
    def rows(self, x, order=None):
        """The structure made from points."""

    @abstractmethod
    def dense(self, x):
        """Its probabilities by a formula of its own."""

    def __str__(self):
        return type(self).__name__

    @property
    def m(self):
        return N if self.square else M

    def columns(self, x):
        return x if self.square else keys_of(x)


class DenseRows(Structure):
    """Some cells without mass, and row 4 empty."""

    half_error = 3e-2  # logits up to 10 are rounded to 8 bits

    def __init__(self, *, square=True, excludes_self=False):
        self.square, self.excludes_self = square, excludes_self

    def mask(self):
        mask = torch.zeros(N, self.m, dtype=torch.bool)
        mask[tuple(zip(*MASKED, strict=True))] = True
        mask[4] = True
        return mask

    def rows(self, x, order=None):
        logits = (x.double() @ self.columns(x.double()).T).masked_fill(self.mask(), -math.inf).to(x.dtype)
        if order is not None:
            logits = logits[order][:, order] if self.square else logits[:, order]
        return Dense(logits, Candidates.others(N) if self.excludes_self else None)

    def dense(self, x):
        weight = torch.where(self.mask(), 0.0, (x @ self.columns(x).T).exp())
        return normalized(weight, without_self=self.excludes_self)


class FullDense(DenseRows):
    """Every cell has mass."""

    def mask(self):
        return torch.zeros(N, self.m, dtype=torch.bool)


class SparseRows(Structure):
    """Rows of 0 to 3 edges, one edge of weight 0."""

    half_error = 5e-3  # log-weights up to 1 are rounded to 8 bits

    def __init__(self, *, square=True):
        self.square = square

    def weights(self, x):
        anchor, column = torch.tensor(GRAPH).T
        weight = (x[anchor] * self.columns(x)[column]).sum(-1).cos() + 1.5
        return anchor, column, torch.where(torch.arange(len(GRAPH)) == 4, 0.0, weight)

    def rows(self, x, order=None):
        anchor, column, weight = self.weights(x.double())
        log_weight = torch.where(weight > 0, weight, 1.0).log().masked_fill(weight == 0, -math.inf).to(x.dtype)
        if order is not None:
            place = torch.argsort(order)
            column = place[column]
            anchor = place[anchor] if self.square else anchor
        by_row = torch.argsort(anchor, stable=True)
        indptr = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(anchor, minlength=N).cumsum(0)])
        candidates = Candidates.others(N) if self.square else Candidates.all(M)
        return Sparse(indptr, column[by_row], log_weight[by_row], candidates=candidates)

    def dense(self, x):
        anchor, column, weight = self.weights(x)
        return normalized(torch.zeros(N, self.m, dtype=x.dtype).index_put((anchor, column), weight))


class RaisedRows(SparseRows):
    """The same edges with scores of either sign; row 3 has none."""

    half_error = 5e-3  # scores up to 1 are rounded to 8 bits

    def scores(self, x):
        anchor, column = torch.tensor(GRAPH).T
        return anchor, column, (x[anchor] * self.columns(x)[column]).sum(-1).sin()

    def rows(self, x, order=None):
        anchor, column, score = self.scores(x.double())
        if order is not None:
            place = torch.argsort(order)
            column = place[column]
            anchor = place[anchor] if self.square else anchor
        candidates = Candidates.others(N) if self.square else Candidates.all(M)
        return Raised(anchor, column, score.to(x.dtype), n=N, candidates=candidates)

    def dense(self, x):
        anchor, column, score = self.scores(x)
        weight = torch.ones(N, self.m, dtype=x.dtype).index_put((anchor, column), score.exp())
        return normalized(weight, without_self=self.square)


class KernelRows(Structure):
    """A recipe and its weight function of two sets of points."""

    def __init__(self, recipe, weight, *, square=True, includes_self=False, row_scale=None):
        self.recipe, self.weight = recipe, weight
        self.square, self.includes_self, self.row_scale = square, includes_self, row_scale
        if not square:
            self.half_error = 2e-2  # the keys made of the points are rounded once more, to 8 bits

    def rows(self, x, order=None):
        keys, scale = None if self.square else keys_of(x), self.row_scale
        if order is not None:
            x, keys = (x[order], None) if self.square else (x, keys[order])
            scale = scale[order] if self.square and scale is not None else scale
        kernel = self.recipe(x, keys, candidates=Candidates.all(N) if self.includes_self else None)
        if scale is None:
            return kernel
        return type(kernel)(self.recipe, x, keys, candidates=kernel.candidates, row_scale=scale)

    def dense(self, x):
        weight = self.weight(x, self.columns(x))
        if self.row_scale is not None:
            weight = weight ** self.row_scale[:, None]
        return normalized(weight, without_self=self.square and not self.includes_self)

    def __str__(self):
        shape = "square" if self.square else "rectangular"
        extra = "-self" * self.includes_self + "-scaled" * (self.row_scale is not None)
        return f"{type(self.recipe).__name__}-{shape}{extra}"


class ClusterRows(Structure):
    """Probabilities over three clusters."""

    half_error = 2e-3  # the probabilities themselves are rounded to 8 bits: 2**-9 of values up to .5

    def __init__(self, normalization, *, square=True):
        self.normalization, self.square = normalization, square

    def rows(self, x, order=None):
        phi = x.double().softmax(1)
        keys = phi if self.square else keys_of(x.double()).softmax(1)
        if order is not None:
            phi, keys = (phi[order], keys[order]) if self.square else (phi, keys[order])
        return Clusters(self.normalization)(phi.to(x.dtype), keys.to(x.dtype))

    def dense(self, x):
        phi, keys = x.softmax(1), self.columns(x).softmax(1)
        if self.normalization == "point":
            return normalized(torch.stack([(row * keys).sum(1) for row in phi]))
        return sum(torch.outer(phi[:, c], keys[:, c] / keys[:, c].sum()) for c in range(D))

    def __str__(self):
        return f"Clusters-{self.normalization}-{'square' if self.square else 'rectangular'}"


class MixtureRows(Structure):
    """Another structure, debiased."""

    def __init__(self, base, alpha=0.3):
        self.base, self.alpha = base, alpha
        self.square, self.half_error = base.square, base.half_error

    def rows(self, x, order=None):
        return Mixture(self.base.rows(x, order), self.alpha)

    def dense(self, x):
        base = self.base.dense(x)
        available = torch.ones_like(base)
        if self.base.rows(x).candidates.excludes_self:
            available.fill_diagonal_(0.0)
        mixed = (1 - self.alpha) * base + self.alpha * available / available.sum(1, keepdim=True)
        return mixed * (base.detach().sum(1, keepdim=True) > 0)

    def __str__(self):
        return f"Mixture-{self.base}"


def dot_weight(a, b):
    return (a @ b.T / 0.7).exp()


def cosine_weight(a, b):
    lengths = a.square().sum(1).sqrt()[:, None] * b.square().sum(1).sqrt()
    return (a @ b.T / lengths / 0.5).exp()


def gaussian_weight(a, b):
    return (-sq_dist(a, b) / (2 * 1.3**2)).exp()


def student_weight(a, b):
    return (1 + sq_dist(a, b) / (2.0 * 0.8**2)) ** -1.5


DOT, COSINE = (Dot(0.7), dot_weight), (Cosine(0.5), cosine_weight)
GAUSSIAN, STUDENT = (Gaussian(1.3), gaussian_weight), (StudentT(2.0, scale=0.8), student_weight)
