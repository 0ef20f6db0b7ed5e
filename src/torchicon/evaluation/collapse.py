"""Signs of collapse that need no labels: few directions in use, probabilities that have all gone to 1."""

import numpy as np
from numpy.typing import ArrayLike

from torchicon.evaluation._checks import as_points

_ROUNDING = 1e-6  # by which a float32 softmax may pass 1


def effective_rank(z: ArrayLike) -> float:
    """How many directions an embedding really uses: exp of the entropy of its normalized singular values.

    Roy and Vetterli (2007), "The effective rank"; as RankMe it predicts how useful an encoder is (Garrido et
    al., 2023). Between 1 (all rows on one line through the origin) and min(n, d); 0 when z is all zeros. The
    mean is not taken off, so a constant embedding has rank 1.

    Args:
        z: the embedding, (n, d).

    Raises:
        ValueError: z is empty, not a matrix, or not finite.

    >>> round(effective_rank([[3.0, 0.0], [0.0, 3.0]]), 6)
    2.0
    """
    points = as_points(z, "z")
    largest = np.abs(points).max()
    if largest == 0:
        return 0.0
    sizes = np.linalg.svd(points / largest, compute_uv=False)  # scaled: sums of huge entries overflow
    share = sizes[sizes > 0] / sizes.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def saturated_share(probabilities: ArrayLike, *, threshold: float) -> float:
    """The share of rows, in [0, 1], whose largest probability is at least the threshold.

    Near 1 with a threshold near 1, the confidences say nothing any more: every row is "certain".

    Args:
        probabilities: cluster or class probabilities, (n, c).
        threshold: in [0, 1].

    Raises:
        ValueError: a probability or the threshold is outside [0, 1], or there are no rows.

    >>> saturated_share([[0.99, 0.01], [0.6, 0.4]], threshold=0.95)
    0.5
    """
    points = as_points(probabilities, "probabilities")
    if points.min() < 0 or points.max() > 1 + _ROUNDING:
        raise ValueError(
            f"probabilities must be in [0, 1], but range from {points.min():.4g} to {points.max():.4g}. "
            "Apply a softmax to logits first."
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], but is {threshold}.")
    return float((points.max(axis=1) >= threshold).mean())
