"""What a supervisory p may ask for: points, labels, or the representation itself where p is learned too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchicon.core import Rows, Sparse, both_wide, cross_entropy, kl, narrow, wide
from torchicon.methods import Method
from torchicon.methods.method import asked_by

_SOURCES = ("x", "label", "z")
DIVERGENCES: dict[str, Callable[[Rows, Rows], Tensor]] = {
    "kl": kl,
    "cross_entropy": cross_entropy,
    "wide": wide,
    "narrow": narrow,
    "both_wide": both_wide,
}


def sources_of(p: Callable[..., Rows], *, supervised: bool) -> tuple[str, ...]:
    """Which of x, label and z a p takes, in order.

    By the names of its parameters; a single one of another name is x, or label if ``supervised``.

    Raises:
        ValueError: several parameters with other names.
    """
    required = asked_by(p)
    if required and set(required) <= set(_SOURCES):
        return required
    if len(required) == 1:
        return ("label",) if supervised else ("x",)
    raise ValueError(f"p may take x, label and z, got a function of {required}.")


def supervisory(
    p: Callable[..., Rows], sources: tuple[str, ...], given: dict[str, Tensor], *, whole: bool
) -> Callable[[Tensor, Tensor], Rows]:
    """From a batch (index, z) to p within it; made once where z plays no part."""

    def within(index: Tensor | slice, z: Tensor | None) -> Rows:
        return p(*(z if name == "z" else given[name][index] for name in sources))

    if "z" in sources:
        return within
    full = within(slice(None), None)
    if whole:
        return lambda *_: full
    if isinstance(full, Sparse) and full.n == full.m:
        return lambda index, _: full.restrict(index)
    return within  # within a batch the candidates are the batch (theory 1)


def arguments_of(method: Method) -> dict[str, Any]:
    """The arguments with which the estimator learns a method of the table.

    Raises:
        ValueError: the method needs more than points, labels and one representation; says what.
    """
    names = {value: name for name, value in DIVERGENCES.items()}  # a name can be saved
    reason = None
    if method.others or method.factor != 1:
        reason = f"is a weighted sum of {len(method.terms)} terms"
    elif len(method.learns) > 1:
        reason = f"learns {' and '.join(method.learns)}"
    elif callable(method.weights):
        reason = "weighs its anchors"
    else:
        learned = method.learns[0]
        of_p, of_q = asked_by(method.p), asked_by(method.q)
        asks = {*of_p, *of_q}
        extra = sorted(asks - {"x", "label", learned})
        if extra or of_q != (learned,):
            reason = f"takes {', '.join(sorted(asks))}"
        elif learned != "z" and learned in of_p:
            reason = f"makes p from {learned}"
    if reason is not None:
        raise ValueError(
            f"{method.name} {reason}; this estimator has x, label and one z. Train it by method.loss(problem)."
        )
    return {
        # the wide limit of a kernel of distances has no minimum without it (theory 2.1)
        **({"mapper": "orthonormal"} if method.divergence is wide else {}),
        "p": method.p,
        "q": method.q,
        "supervised": "label" in asked_by(method.p),
        "direction": method.direction,
        "weights": method.weights,
        "divergence": names.get(method.divergence, method.divergence),
    }


def require_learnable(loss: Tensor) -> None:
    """Refuse a loss without a gradient.

    Raises:
        ValueError: neither neighborhood depends on the representation.
    """
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ValueError(
            "Neither p nor q depends on the representation z, so there is nothing to learn: q must be a kernel or "
            "clusters of z, such as StudentT() or lambda z: Clusters()(z.softmax(1)); kNN graphs have no gradient."
        )
