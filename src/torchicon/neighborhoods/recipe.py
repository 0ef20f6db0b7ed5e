"""What every kernel recipe shares: call it with points and it gives rows."""

from __future__ import annotations

from torch import Tensor

from torchicon.core import Candidates, Kernel, Score
from torchicon.core.numerics import readable


def require_positive(name: str, value: object) -> None:
    """Refuse a number, or a learned tensor, that is not positive. Looked at where that is free (`readable`)."""
    if isinstance(value, Tensor):
        if readable(value) and not bool((value > 0).all()):
            raise ValueError(
                f"{name} must be positive, got {value.detach().tolist()}. To learn it, learn its logarithm: "
                f"{name}=log_{name}.exp()."
            )
    elif isinstance(value, int | float) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}.")


class KernelRecipe(Score):
    """A score that makes its own neighborhood when it is called."""

    def __call__(self, anchors: Tensor, keys: Tensor | None = None, *, candidates: Candidates | None = None) -> Kernel:
        """Rows over the other anchors (self excluded), or over ``keys``.

        Args:
            anchors: (n, d) points; learned ones carry a gradient.
            keys: (m, d) points of the columns, such as another modality, prototypes or a memory bank.
            candidates: identity of the columns, to share with the other neighborhood; ``Candidates.all(n)`` keeps
                self among an anchor's own candidates.
        """
        return Kernel(self, anchors, keys, candidates=candidates)
