r"""From rows to one number: $L = \sum_i w_i \, \mathrm{KL}(p_i \| q_i)$, and its jointly normalized form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from torchicon.core.compiled import operator
from torchicon.core.divergence import kl
from torchicon.core.errors import SupportError
from torchicon.core.numerics import safe_exp_times
from torchicon.core.rows import Rows

Direction = Literal["forward", "reverse"]
Weights = Tensor | Literal["mean", "sum"]
Divergence = Callable[[Rows, Rows], Tensor]


def _one_number(
    supervisory: Rows,
    learned: Rows,
    *,
    direction: Direction = "forward",
    weights: Weights = "mean",
    divergence: Divergence = kl,
) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and type of the objective."""
    dtype = (supervisory if direction == "reverse" else learned).dtype
    return (), dtype


@operator(_one_number)
def objective(
    supervisory: Rows,
    learned: Rows,
    *,
    direction: Direction = "forward",
    weights: Weights = "mean",
    divergence: Divergence = kl,
) -> Tensor:
    r"""The I-Con loss, one number in nats.

    Args:
        supervisory: the neighborhood that is given, usually.
        learned: the neighborhood of the representation.
        direction: "forward" is KL(supervisory || learned); "reverse", of K-Means and normalized cuts,
            is KL(learned || supervisory) (theory 1).
        weights: "mean" over the anchors that have a neighbor, "sum", or (n,) weights w_i.
        divergence: `kl`, one of its limits `wide`, `narrow` and `both_wide`, or `cross_entropy`.

    Raises:
        ValueError: an unknown direction or weighting, weights of another length, or no anchor has a neighbor.

    >>> from torchicon.core import Dense
    >>> objective(Dense.uniform(4), Dense.uniform(4))
    tensor(0.)
    """
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction must be 'forward' or 'reverse', got {direction!r}.")
    p, q = (supervisory, learned) if direction == "forward" else (learned, supervisory)
    try:
        per_anchor = divergence(p, q)
    except SupportError as error:
        if direction == "forward":
            raise
        raise SupportError(f"{error} (The direction is reverse: p is the learned neighborhood here.)") from error
    if isinstance(weights, Tensor):
        if weights.shape != (p.n,):
            raise ValueError(f"weights must have shape ({p.n},), one an anchor, got {tuple(weights.shape)}.")
        return (weights.to(per_anchor.dtype) * per_anchor).sum()  # float64 weights leave a float32 loss what it is
    if weights == "sum":
        return per_anchor.sum()
    if weights != "mean":
        raise ValueError(f"weights must be 'mean', 'sum' or a tensor, got {weights!r}.")
    anchors = p.n - int(p.empty_anchors().sum())
    if anchors == 0:
        raise ValueError("No anchor has a neighbor: every row of p is empty, so there is nothing to learn from.")
    return per_anchor.sum() / anchors


@operator(lambda p, q: ((), torch.promote_types(p.dtype, q.dtype)))
def joint_kl(p: Rows, q: Rows) -> Tensor:
    r"""KL of all cells normalized together, $\mathrm{KL}(P \| Q)$ with $P_{ij} = r_i p_{j|i}$: van der Maaten's t-SNE.

    Equals $\sum_i r_i \mathrm{KL}(p_i \| q_i) + \mathrm{KL}(r \| \rho)$ with r and rho the shares that p and q
    give to the anchors (`Rows.log_mass`; theory 1).
    """
    log_r, log_rho = p.log_mass(), q.log_mass()
    marginal = safe_exp_times(log_r, log_r - log_rho).sum()
    return (log_r.exp() * kl(p, q)).sum() + marginal
