"""Smallest eigenvalues of a graph's normalized Laplacian, by subspaces that a polynomial filters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

_GUARDS = 6  # vectors beyond those asked for: the last of a subspace converge slowly
_DENSE_WHEN = 8  # with fewer rows than this for each vector all eigenvectors cost less than some
_GROWTH = 1e4  # of the slowest vector in one filter: more would leave the others to rounding
_MAX_DEGREE, _MAX_FILTERS = 2000, 60
_TOLERANCE = 0.02  # residuals relative to the largest eigenvalue of the subspace

Product = Callable[[Tensor], Tensor]


class Spectrum(NamedTuple):
    """Eigenvalues of $I - D^{-1/2} W D^{-1/2}$ in rising order (b,), and eigenvectors as columns (n, b), float64."""

    values: Tensor
    vectors: Tensor


def smallest(affinity: csr_array, count: int, generator: torch.Generator) -> Spectrum:
    r"""The ``count`` smallest eigenvalues with their vectors, and up to six more that are less exact.

    Chebyshev polynomials of the graph make the wanted vectors of a random block grow and leave the others
    (Zhou, Saad, Tiago & Chelikowsky 2006): many vectors share a pass over the edges, and equal eigenvalues are no
    special case. The filter runs in float32 as far as that reaches. It ends when no residual $|L v - \lambda v|$
    exceeds a fiftieth of the block's largest eigenvalue: eigenvalues, whose errors are quadratic in it, are closer.

    Args:
        affinity: (n, n) symmetric, nonnegative, every row with an edge.
        count: eigenvalues asked for.
        generator: draws the block.

    Warns:
        ConvergenceWarning: 60 filters did not bring the residuals so low.
    """
    n = affinity.shape[0]
    root = torch.from_numpy(affinity.sum(1)).sqrt()
    scaled = _scaled(affinity, root)
    block = min(count + _GUARDS, n)
    if n < _DENSE_WHEN * block:
        values, vectors = torch.linalg.eigh(torch.from_numpy(scaled.toarray()))
        return Spectrum(1 - values.flip(0)[:block], vectors.flip(1)[:, :block])
    exact, rough = _product(scaled, torch.float64), _product(scaled, torch.float32)
    vectors = torch.randn(n, block, generator=generator)
    edge, worst, product = 0.0, math.inf, rough
    for _ in range(_MAX_FILTERS):
        values, vectors, residual = _ritz(product, _filter(product, vectors, edge))
        edge = min(max(float(values[-1]), 0.0), 1 - 1e-9)
        before, worst = worst, float(residual[:count].max())
        allowed = max(_TOLERANCE * (1 - edge), 1e-12)
        if worst <= allowed:
            break
        if worst > before / 2:  # float32 reaches no further
            product, vectors = exact, vectors.double()
    else:
        warnings.warn(
            f"The {count} smallest eigenvalues of the graph were not separated: residuals reach "
            f"{worst:.1g} where {allowed:.1g} was wanted.",
            ConvergenceWarning,
            stacklevel=2,
        )
    values, vectors, _ = _ritz(exact, vectors.double())
    return Spectrum(1 - values, vectors)


def _scaled(affinity: csr_array, root: Tensor) -> csr_array:
    """D^-1/2 W D^-1/2: its spectrum lies in [-1, 1]."""
    share = 1 / root.numpy()
    row = np.repeat(share, np.diff(affinity.indptr))
    return csr_array((affinity.data * row * share[affinity.indices], affinity.indices, affinity.indptr), affinity.shape)


def _product(matrix: csr_array, dtype: torch.dtype) -> Product:
    """The function x -> A x for dense x (n, b)."""
    n = matrix.shape[0]
    if matrix.nnz > n * n / 4:
        dense = torch.from_numpy(matrix.toarray()).to(dtype)
        return lambda x: dense @ x
    weight = torch.from_numpy(matrix.data).to(dtype)
    columns, indptr = torch.from_numpy(matrix.indices), torch.from_numpy(matrix.indptr)
    # A weighted sum of rows of x for each row of A: twice as fast as scipy's product of the same matrices.
    return lambda x: torch.nn.functional.embedding_bag(
        columns, x, indptr, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def _filter(product: Product, x: Tensor, edge: float) -> Tensor:
    """T_m(A) x with [-1, edge] mapped onto [-1, 1]: at most 1 there, rising beyond to ``_GROWTH`` at 1."""
    half, middle = (1 + edge) / 2, (edge - 1) / 2
    degree = min(math.ceil(math.acosh(_GROWTH) / math.acosh((1 - middle) / half)), _MAX_DEGREE)
    before, now = x, (product(x) - middle * x) / half
    for _ in range(degree - 1):
        before, now = now, product(now).sub_(now, alpha=middle).mul_(2 / half).sub_(before)
    return now


def _ritz(product: Product, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rayleigh-Ritz: the block's best eigenvalues of A, falling, their vectors, and how far A v is from a multiple."""
    basis = torch.linalg.qr(x).Q
    image = product(basis)
    values, turn = torch.linalg.eigh(basis.T @ image)
    values, turn = values.flip(0), turn.flip(1)
    vectors = basis @ turn
    return values, vectors, (image @ turn - vectors * values).norm(dim=0)
