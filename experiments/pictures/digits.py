"""The handwritten digits in the forms that methods ask for: points, views, halves and a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

SIDE = 8


@dataclass(frozen=True)
class Digits:
    """Images in [0, 1], (n, 64), and their labels, (n,)."""

    x: Tensor
    label: Tensor

    def rows(self, rows: Tensor) -> Digits:
        """Some of them, in that order."""
        return Digits(self.x[rows], self.label[rows])

    def of_classes(self, count: int) -> Digits:
        """Only the digits below ``count``."""
        return self.rows(torch.nonzero(self.label < count)[:, 0])


def load(per_class: int, seed: int) -> tuple[Digits, Digits, Digits]:
    """Three parts: as many of every digit for tables, as many held out, and all but those held out for networks."""
    images, labels = load_digits(return_X_y=True)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    table: list[int] = []
    held_out: list[int] = []
    for digit in range(10):
        rows = shuffled[labels[shuffled] == digit].tolist()
        table += rows[:per_class]
        held_out += rows[per_class : 2 * per_class]
    most = np.setdiff1d(shuffled, held_out).tolist()
    x, label = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    of_table, of_held_out, of_most = (Digits(x, label).rows(torch.tensor(rows)) for rows in (table, held_out, most))
    return of_table, of_held_out, of_most


def counting(label: Tensor, times: int, generator: torch.Generator) -> Tensor:
    """Rows whose digits count up to the last class, over and over: a sentence in which the next token can be known."""
    shuffled = torch.randperm(len(label), generator=generator)
    of_class = [shuffled[label[shuffled] == digit][:times] for digit in range(int(label.max()) + 1)]
    return torch.stack(of_class, dim=1).flatten()


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by up to half a pixel along either axis, with noise of a tenth of the range."""
    n = len(x)
    padded = functional.pad(x.view(n, SIDE, SIDE), (1, 1, 1, 1))
    down, right = (torch.randint(0, 3, (n, 1, 1), generator=generator) for _ in range(2))
    rows, columns = torch.arange(SIDE)[None, :, None] + down, torch.arange(SIDE)[None, None, :] + right
    moved = padded[torch.arange(n)[:, None, None], rows, columns].view(n, SIDE * SIDE)
    moved = x.lerp(moved, 0.5 * torch.rand(n, 1, generator=generator))
    return moved + 0.1 * torch.randn(moved.shape, generator=generator)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The left and the right half of each image, (n, 32) each."""
    left, right = x.view(len(x), SIDE, 2, SIDE // 2).unbind(2)
    return left.flatten(1), right.flatten(1)


def knn_graph(x: Tensor, k: int) -> Tensor:
    """Weight 1 between points of which one is among the other's k nearest, else 0, (n, n)."""
    nearest = torch.cdist(x, x).fill_diagonal_(torch.inf).topk(k, largest=False).indices
    weight = torch.zeros(len(x), len(x)).scatter_(1, nearest, 1.0)
    return torch.maximum(weight, weight.T)


def principal(x: Tensor, count: int) -> Tensor:
    """Coordinates along the first principal axes, (n, count), each axis turned so that its sum of cubes is positive."""
    centered = (x - x.mean(0)).double()
    axes = torch.linalg.svd(centered, full_matrices=False).Vh[:count]
    at = centered @ axes.T
    at = at * torch.where(at.pow(3).sum(0) < 0, -1.0, 1.0)
    return functional.pad(at, (0, count - at.shape[1])).to(x.dtype)


def laplacian_axes(weight: Tensor, count: int) -> Tensor:
    """The eigenvectors of the normalized Laplacian after the constant one, (n, count), with unit variance."""
    scale = weight.double().sum(1).clamp(min=1).rsqrt()
    laplacian = torch.eye(len(weight), dtype=torch.float64) - scale[:, None] * weight.double() * scale
    axes = torch.linalg.eigh(laplacian).eigenvectors[:, 1 : count + 1]
    axes = axes * torch.where(axes.pow(3).sum(0) < 0, -1.0, 1.0)
    return (axes / axes.std(0)).to(weight.dtype)
