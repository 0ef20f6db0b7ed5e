"""Perplexity: the precision of each anchor's Gaussian at which it has a wanted effective number of neighbors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Calibration", "calibrate"]

# log beta, in units of the row's own mean distance, is sought in this interval: nearly uniform to nearly one-hot even
# for rows whose distances span 290 orders of magnitude, and without overflow.
_LOWEST, _HIGHEST = -40.0, 680.0
_CELLS_AT_ONCE = 1 << 17  # what a core's cache holds of Newton's intermediates
_MAX_STEPS = 300  # bisection alone would need 60 to reach the last bit; Newton takes about 6


class Calibration(NamedTuple):
    """Rows of neighborhoods with a given perplexity.

    log_p: (n, k) log-probabilities, float64, -inf for cells left out.
    beta: (n,) precision 1 / (2 sigma^2) of each row, float64; inf where p is uniform on ties for the nearest.
    """

    log_p: Tensor
    beta: Tensor


@torch.no_grad()
def calibrate(sq_dist: Float[Tensor, "n k"], perplexity: float) -> Calibration:
    r"""Gaussian neighborhoods $p_{j|i} \propto \exp(-\beta_i d_{ij}^2)$ with $\exp H(p_i)$ = perplexity for every row.

    (van der Maaten & Hinton, JMLR 2008, section 2.) Safeguarded Newton in log beta, in float64. A row with more ties
    for the nearest than `perplexity` (duplicates) cannot be as sharp: its limit, uniform on the ties, is returned.

    Args:
        sq_dist: squared distances of each anchor to its k candidates; inf leaves a cell out, such as the anchor.
        perplexity: effective number of neighbors, from 1 to the number of candidates of the poorest row.

    Raises:
        ValueError: a perplexity below 1 or above the candidates of some row, NaN or negative distances.

    >>> p = calibrate(torch.tensor([[0.0, 1.0, 4.0]]), perplexity=2.0).log_p.exp()
    >>> round(float((-p * p.log()).sum().exp()), 6)
    2.0
    """
    candidates = _validate(sq_dist, perplexity)
    rows = max(1, _CELLS_AT_ONCE // max(1, sq_dist.shape[1]))
    blocks = [slice(start, start + rows) for start in range(0, max(1, len(sq_dist)), rows)]
    parts = [_calibrate(sq_dist[block], candidates[block], perplexity) for block in blocks]
    return Calibration(torch.cat([part.log_p for part in parts]), torch.cat([part.beta for part in parts]))


def _calibrate(sq_dist: Tensor, candidates: Tensor, perplexity: float) -> Calibration:
    """Some rows, with their numbers of candidates."""
    distances = sq_dist.to(torch.float64)
    valid = distances < math.inf
    nearest = distances.amin(1, keepdim=True)
    excess = torch.where(valid, distances - nearest, 0.0)
    # two steps of scaling: the mean of huge distances would overflow, and rows may differ by any factor
    peak = excess.amax(1, keepdim=True)
    flat = peak == 0
    peak = torch.where(flat, 1.0, peak)
    relative = excess / peak
    mean = torch.where(flat, 1.0, relative.sum(1, keepdim=True) / candidates.unsqueeze(1))
    relative = relative / mean

    tie = valid & (relative == 0)  # also what is lost below the largest by underflow
    ties = tie.sum(1, dtype=torch.float64)
    log_target = math.log(perplexity)
    tied = (ties >= perplexity) & ~flat.squeeze(1)
    uniform = (candidates == perplexity) | flat.squeeze(1)

    log_beta = _solve(relative, valid, log_target, active=~(tied | uniform))
    beta = log_beta.exp()
    beta[uniform] = 0.0
    log_p = torch.where(valid, -beta.unsqueeze(1) * relative, -math.inf).log_softmax(1)
    on_ties = torch.where(tie, -ties.log().unsqueeze(1), -math.inf)
    log_p = torch.where(tied.unsqueeze(1), on_ties, log_p)
    beta = torch.where(tied, math.inf, beta / (mean * peak).squeeze(1))
    return Calibration(log_p, beta)


def _solve(relative: Tensor, valid: Tensor, log_target: float, active: Tensor) -> Tensor:
    """log beta of each active row at which the entropy is log_target: it falls from log k to the log of the ties."""
    log_beta = relative.new_zeros(len(relative))
    low, high = torch.full_like(log_beta, _LOWEST), torch.full_like(log_beta, _HIGHEST)
    rows = active.nonzero().squeeze(1)
    for _ in range(_MAX_STEPS):
        if len(rows) == 0:
            break
        at, cells, kept = log_beta[rows], relative[rows], valid[rows]
        energy = at.exp().unsqueeze(1) * cells
        log_p = torch.where(kept, -energy, -math.inf).log_softmax(1)
        p = log_p.exp()
        energy = torch.where(p > 0, energy, 0.0)
        gap = -(p * torch.where(p > 0, log_p, 0.0)).sum(1) - log_target
        mean = (p * energy).sum(1, keepdim=True)
        slope = -(p * (energy - mean).square()).sum(1)  # dH / dlog(beta) = -Var(beta d)
        low[rows] = torch.where(gap > 0, at, low[rows])
        high[rows] = torch.where(gap > 0, high[rows], at)
        newton = at - gap / slope
        inside = (newton > low[rows]) & (newton < high[rows])  # False for NaN and infinity too
        following = torch.where(inside, newton, (low[rows] + high[rows]) / 2)
        open_ = (gap.abs() > 1e-12) & ((high - low)[rows] > 1e-14 * at.abs().clamp(min=1))
        log_beta[rows] = torch.where(open_, following, at)
        rows = rows[open_]
    return log_beta


def _validate(sq_dist: Tensor, perplexity: float) -> Tensor:
    """Number of candidates of each row, (n,), in float64: integers would meet the perplexity in float32."""
    if sq_dist.ndim != 2:
        raise ValueError(f"sq_dist must be (n, k), got {tuple(sq_dist.shape)}.")
    bad = (sq_dist.isnan() | (sq_dist < 0)).nonzero()
    if len(bad):
        i, j = bad[0].tolist()
        raise ValueError(f"Squared distances must be at least 0, got {sq_dist[i, j].item()} in row {i}, column {j}.")
    if not perplexity >= 1:
        raise ValueError(f"perplexity is an effective number of neighbors and at least 1, got {perplexity}.")
    candidates = (sq_dist < math.inf).sum(1, dtype=torch.float64)
    if len(candidates) and candidates.min() < perplexity:
        row = int(candidates.argmin())
        raise ValueError(
            f"perplexity {perplexity} needs as many candidates in every row, but row {row} has {int(candidates[row])}. "
            "Give more neighbors (three times the perplexity is usual) or lower the perplexity."
        )
    return candidates
