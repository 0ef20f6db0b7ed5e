"""What every source of columns asks of its arguments."""

from __future__ import annotations

from torch import Tensor


def require_size(name: str, value: int) -> None:
    """Refuse what is not a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def require_index(index: Tensor, size: int, what: str) -> None:
    """Refuse indices that are not (b,) integers in [0, size)."""
    if index.ndim != 1 or index.is_floating_point():
        raise ValueError(f"The index must be (b,) integers, got {index.dtype} of shape {tuple(index.shape)}.")
    outside = (index < 0) | (index >= size)
    if outside.any():
        at = int(outside.nonzero()[0])
        raise ValueError(f"{what} has rows 0 to {size - 1}, but index[{at}] is {int(index[at])}.")


def require_features(features: Tensor, d: int, what: str) -> None:
    """Refuse features that are not finite or not (b, d): they would stay for good."""
    if features.ndim != 2 or features.shape[1] != d:
        raise ValueError(f"{what} takes features (b, {d}), got shape {tuple(features.shape)}.")
    if not features.isfinite().all():
        row = int((~features.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"{what} would remember it: row {row} of features is not finite.")
