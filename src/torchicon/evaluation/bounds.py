"""Lower bounds on mutual information in nats, from a critic's scores, with confidence intervals."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchicon.evaluation._checks import as_points

_BLOCK_CELLS = 1 << 22  # random keys alive at once


@dataclass(frozen=True)
class Bound:
    """An estimate of a lower bound on mutual information, nats.

    Attributes:
        value: the mean over anchors.
        low, high: normal confidence interval, value -/+ z standard errors of that mean. It speaks of the bound, and
            counts the anchors as independent; with negatives that all anchors share it is too narrow.
        level: of the interval.
        ceiling: log K, which no estimate of K scores can pass.
    """

    value: float
    low: float
    high: float
    level: float
    ceiling: float


def infonce_bound(scores: ArrayLike, *, positive: int | ArrayLike = 0, level: float = 0.95) -> Bound:
    r"""InfoNCE: the mean of $s_+ - \log \frac1K \sum_k e^{s_k}$ (van den Oord et al. 2018; theory 1 and 2.5).

    In expectation a lower bound for any critic, if an anchor's K scores are those of its positive and of K - 1
    independent draws from the marginal.

    Args:
        scores: (n, K) of a critic, n and K at least 2; one row an anchor.
        positive: column of the positive, for all rows or (n,).
        level: of the confidence interval, in (0, 1).

    Raises:
        ValueError: scores that are not finite or too few, a column out of range, or a level outside (0, 1).

    >>> bound = infonce_bound([[3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 1.0, 0.0]])
    >>> print(f"{bound.value:.3f} in [{bound.low:.3f}, {bound.high:.3f}], at most {bound.ceiling:.3f}")
    0.931 in [0.849, 1.012], at most 1.099
    """
    table = as_points(scores, "scores")
    n, k = table.shape
    column = np.asarray(positive)
    if not np.issubdtype(column.dtype, np.integer) or column.shape not in ((), (n,)):
        raise ValueError(f"positive must be a column or one for each of {n} rows, got {column.dtype} {column.shape}.")
    if column.min() < 0 or column.max() >= k:
        raise ValueError(f"positive must name a column in [0, {k}), got {column.min()} to {column.max()}.")
    own = table[np.arange(n), column]
    return _bound(own, table, level)


def vince_bound(
    positive: ArrayLike,
    pool: ArrayLike,
    *,
    percent: float = 100.0,
    n_negatives: int,
    generator: np.random.Generator,
    level: float = 0.95,
) -> Bound:
    r"""VINCE: InfoNCE with hard negatives, drawn from the part of an anchor's pool with the highest scores.

    Wu et al. (2020); theory 2.5 and 4g. The part of p % is $\{s \ge \tau\}$ with $\tau$ the (1 - p) quantile of the
    anchor's own pool; 100 % is InfoNCE. Drawn without replacement, so that in expectation it is at most InfoNCE, and
    that at most the mutual information, also for a small pool. Below zero it says nothing.

    Args:
        positive: (n,) score of each anchor with its positive.
        pool: (n, m) its scores with m independent draws from the marginal, the positive not among them.
        percent: size of the part, in (0, 100].
        n_negatives: K - 1, drawn for each anchor; at most the part's ``ceil(m percent / 100)`` columns.
        generator: of the draws.
        level: of the confidence interval, in (0, 1).

    Raises:
        ValueError: scores that are not finite or do not match, a percentage or level out of range, or a part that is
            smaller than the draw.

    >>> generator = np.random.default_rng(0)
    >>> positive, pool = generator.normal(1.0, 1.0, 100), generator.normal(0.0, 1.0, (100, 40))
    >>> easy, hard = (vince_bound(positive, pool, percent=p, n_negatives=9, generator=generator) for p in (100, 25))
    >>> hard.value < easy.value < easy.ceiling == math.log(10)
    True
    """
    table = as_points(pool, "pool")
    n, m = table.shape
    own = as_points(np.asarray(positive, dtype=np.float64)[..., None], "positive")[:, 0]
    if len(own) != n:
        raise ValueError(f"positive and pool must have a row for each anchor, but have {len(own)} and {n}.")
    if not 0 < percent <= 100:
        raise ValueError(f"percent must lie in (0, 100], but is {percent}.")
    part = max(1, math.ceil(m * percent / 100 - 1e-9))  # 30 % of 10 is 3, whatever the rounding of 30 / 100
    if not 1 <= n_negatives <= part:
        raise ValueError(
            f"n_negatives = {n_negatives} must lie in 1 .. {part}, the {percent:g} % of a pool of {m} with the highest "
            "scores: give a larger pool or a larger percentage."
        )
    drawn = np.empty((n, n_negatives))
    for rows in _blocks(n, m):
        hardest = np.partition(table[rows], m - part, axis=1)[:, m - part :]  # (b, part)
        keys = generator.random(hardest.shape)
        chosen = keys.argpartition(n_negatives - 1, axis=1)[:, :n_negatives]
        drawn[rows] = np.take_along_axis(hardest, chosen, axis=1)
    return _bound(own, np.concatenate([own[:, None], drawn], axis=1), level)


def _bound(own: NDArray[np.float64], scores: NDArray[np.float64], level: float) -> Bound:
    n, k = scores.shape
    if n < 2 or k < 2:
        raise ValueError(f"A bound needs at least 2 anchors with 2 scores each, but has {n} with {k}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), but is {level}.")
    peak = scores.max(axis=1)
    ceiling = math.log(k)
    log_mean = np.log(np.exp(scores - peak[:, None]).sum(axis=1)) + peak - ceiling
    gain = own - log_mean
    value = min(float(gain.mean()), ceiling)  # rounding may pass it by a digit
    half = NormalDist().inv_cdf((1 + level) / 2) * float(gain.std(ddof=1)) / math.sqrt(n)
    return Bound(value=value, low=value - half, high=value + half, level=level, ceiling=ceiling)


def _blocks(n: int, cells_per_row: int) -> list[slice]:
    rows = max(1, _BLOCK_CELLS // cells_per_row)
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
