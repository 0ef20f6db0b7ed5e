"""Kernels over random points, and matrices of their scores by formulas that share no code with torchicon."""

import torch
from torch.nn import functional as F

from torchicon.core import Candidates
from torchicon.neighborhoods import Cosine, Dot, Exponential, Gaussian, StudentT

EXACT = {"rtol": 1e-11, "atol": 1e-11}
N, M, D = 7, 5, 3
BUDGETS = (2**24, 300, 1)


def sq_dist(a, b):
    return (a[:, None] - b).square().sum(-1)


def distance(a, b):
    positive = sq_dist(a, b)
    return torch.where(positive > 0, positive, 1.0).sqrt() * (positive > 0)


SCORES = {  # theory 1, "Kernels"; s is the parameter
    "gaussian": (lambda s: Gaussian(s), lambda a, b, s: -sq_dist(a, b) / (2 * s**2)),
    "student": (lambda s: StudentT(3.0, scale=s), lambda a, b, s: -2 * (sq_dist(a, b) / (3 * s**2)).log1p()),
    "laplacian": (lambda s: Exponential(1.0, s), lambda a, b, s: -distance(a, b) / s),
    "dot": (lambda s: Dot(s), lambda a, b, s: a @ b.T / s),
    "cosine": (lambda s: Cosine(s), lambda a, b, s: F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / s),
}
SHAPES = ("self excluded", "self included", "rectangular")


class Case:
    """A kernel over random points, and the dense matrices that say what must come out."""

    def __init__(self, name, shape, normal):
        recipe, scores = SCORES[name]
        self.a, self.b = normal(N, D).requires_grad_(), normal(M, D).requires_grad_()
        self.parameter = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
        square = shape != "rectangular"
        self.m = N if square else M
        self.candidates = Candidates.others(N) if shape == "self excluded" else Candidates.all(self.m)
        keys = None if square else self.b
        self.make = lambda: recipe(self.parameter)(self.a, keys, candidates=self.candidates)
        self.scores = scores(self.a, self.a if square else self.b, self.parameter)
        self.cells = torch.ones(N, self.m, dtype=torch.bool)
        if self.candidates.excludes_self:
            self.cells.fill_diagonal_(False)
        self.learned = (self.a, self.parameter) if square else (self.a, self.b, self.parameter)

    def mean(self, values):
        return torch.where(self.cells, values, 0.0).sum(1) / self.cells.sum(1)
