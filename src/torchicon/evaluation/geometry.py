"""How an embedding lies on the unit sphere: views of a thing close together, things spread out."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from sklearn.utils import gen_batches

from torchicon.evaluation._checks import check_same_length, unit_rows

_BLOCK_CELLS = 1 << 20  # pairs alive at once


def alignment(first: ArrayLike, second: ArrayLike, *, power: float = 2.0) -> float:
    r"""The mean of $\|a_i - b_i\|^\text{power}$ over rows scaled to length 1; lower is better.

    Wang and Isola (2020), "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere". Between 0, where both views always agree, and $2^\text{power}$, where they are always opposite.

    Args:
        first: one view of each thing, (n, d).
        second: another view of the same things, in the same order, (n, d).
        power: of the distance, positive.

    Raises:
        ValueError: the shapes differ, a value is not finite, a row is all zeros, or the power is not positive.

    >>> alignment([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -3.0]])
    2.0
    """
    a, b = unit_rows(first, "first"), unit_rows(second, "second")
    check_same_length(len(a), "first", len(b), "second")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"first and second must have the same columns, but have {a.shape[1]} and {b.shape[1]}.")
    if not 0 < power < np.inf:
        raise ValueError(f"power must be positive and finite, but is {power}.")
    return float((np.linalg.norm(a - b, axis=1) ** power).mean())


def uniformity(z: ArrayLike, *, t: float = 2.0) -> float:
    r"""The log of the mean of $\exp(-t \|z_i - z_j\|^2)$ over pairs i < j of rows scaled to length 1; lower is better.

    Wang and Isola (2020). Between -4 t and 0, which is total collapse. Exact over all pairs, a block at a time.

    Args:
        z: the embedding, (n, d), n at least 2.
        t: inverse squared width of the kernel, positive.

    Raises:
        ValueError: fewer than 2 rows, a value that is not finite, a row of zeros, or t is not positive.

    >>> uniformity([[1.0, 0.0], [-3.0, 0.0]], t=2.0)
    -8.0
    """
    units = unit_rows(z, "z")
    n = len(units)
    if n < 2:
        raise ValueError("uniformity compares pairs and needs at least 2 rows, but z has 1.")
    if not 0 < t < np.inf:
        raise ValueError(f"t must be positive and finite, but is {t}.")
    log_sums = []
    for rows in gen_batches(n - 1, max(1, _BLOCK_CELLS // n)):  # the last row has no pair below it
        cosine = units[rows] @ units[rows.start :].T  # (b, n - start)
        log_kernel = 2 * t * (np.minimum(cosine, 1.0) - 1)  # |a - b|^2 = 2 - 2 cos
        log_kernel[np.tri(*log_kernel.shape, dtype=np.bool_)] = -np.inf  # itself, and pairs already counted
        log_sums.append(logsumexp(log_kernel))
    return float(logsumexp(log_sums) - np.log(n * (n - 1) / 2))
