"""Transforms of neighborhoods: debias, propagate, symmetrize, taught (theory 1 and 5)."""

from __future__ import annotations

import math
from typing import Literal

import torch

from torchicon.core import Cluster, Kernel, Mixture, Rows, Sparse
from torchicon.core.compiled import later
from torchicon.core.numerics import log_normalize, safe_log
from torchicon.core.rows import check_comparable


def debias(rows: Rows, alpha: float) -> Rows:
    r"""Mix with the uniform neighborhood: $(1-\alpha) p + \alpha / M$ over the candidates (I-Con 3.3; theory 5).

    On p it is label smoothing, on q it bounds the divergence by log(M / alpha). ``alpha = 0`` changes nothing. Where
    anchors have candidates of their own (`within`), M is their number.

    Raises:
        ValueError: alpha outside [0, 1).
    """
    if alpha == 0:
        return rows
    if not (isinstance(rows, Sparse) and rows.own_candidates):
        return Mixture(rows, alpha)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}.")
    mass = rows.log_p != -math.inf
    log_uniform = math.log(alpha) - rows.counts[rows.anchor].to(rows.dtype).log()
    mixed = torch.logaddexp(torch.where(mass, rows.log_p, 0.0) + math.log1p(-alpha), log_uniform)
    empty = rows.empty_anchors()[rows.anchor]  # an anchor without a neighbor gets none
    log_p = torch.where(empty, -math.inf, torch.where(mass, mixed, log_uniform))
    return Sparse(rows.indptr, rows.columns, log_p, candidates=rows.candidates, own_candidates=True)


def propagate(p: Sparse, length: int, *, weights: Literal["walks", "uniform"] = "walks") -> Sparse:
    r"""Neighbors within ``length`` steps of a square graph (theory 5 and 11). No gradient passes.

    Args:
        p: the graph; one step of "walks" gives its own rows.
        length: steps L >= 1.
        weights: "walks": $\frac1L \sum_{t \le L} P^t$; "uniform": equal mass on all that L steps can reach.

    Self-loops that a walk creates are kept where the candidates include self, else removed before the rows are
    normalized again.

    >>> from torchicon.core import Candidates
    >>> ring = Sparse.from_neighbors(torch.tensor([[1], [2], [0]]), candidates=Candidates.others(3))
    >>> propagate(ring, 2).dense()[0]
    tensor([0.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    if length < 1:
        raise ValueError(f"length counts steps and must be at least 1, got {length}.")
    if weights not in ("walks", "uniform"):
        raise ValueError(f"weights must be 'walks' or 'uniform', got {weights!r}.")
    if p.n != p.m:
        raise ValueError(f"Walks need as many anchors as candidates, got {p.n} and {p.m}.")
    import scipy.sparse as sps  # here, so that ``import torchicon`` stays light; torch's own products are in beta

    parts = (p.log_p.detach().exp().cpu().numpy(), p.columns.cpu().numpy(), p.indptr.cpu().numpy())
    step = sps.csr_array(parts, shape=(p.n, p.m))
    power, total = step, step
    for _ in range(length - 1):
        power = power @ step
        total = total + power
    reached = total.tocoo()
    anchor, column = (torch.as_tensor(axis, dtype=torch.long, device=p.columns.device) for axis in reached.coords)
    weight = torch.as_tensor(reached.data, device=p.log_p.device)
    kept = weight > 0
    if p.candidates.excludes_self:
        kept &= anchor != column
    weight = weight if weights == "walks" else torch.ones_like(weight)
    return Sparse.from_edges(anchor[kept], column[kept], weight[kept], n=p.n, candidates=p.candidates)


@later(lambda p: (p.n, p.candidates, p.dtype))
def symmetrize(p: Sparse) -> Sparse:
    r"""Joint form of t-SNE, $P_{ij} = (r_i p_{j|i} + r_j p_{i|j}) / 2$, as rows with their shares (theory 1).

    Anchors have equal shares, r_i = 1/n, unless p has shares of its own; a p that is symmetric stays as it is. The
    rows are $P_{ij} / r_i$, and `Rows.log_mass` gives log r_i; `joint_kl` puts them together.
    """
    if p.n != p.m:
        raise ValueError(f"Only a square neighborhood can be symmetrized, got {p.n} anchors and {p.m} candidates.")
    mass = (p.log_p + p.log_mass()[p.anchor]).exp()
    anchor, column = torch.cat([p.anchor, p.columns]), torch.cat([p.columns, p.anchor])
    both = torch.cat([mass, mass]) / 2
    share = both.new_zeros(p.n).index_add(0, anchor, both)
    rows = Sparse.from_edges(anchor, column, both, n=p.n, candidates=p.candidates)
    log_mass = log_normalize(safe_log(share)[None])[0]
    return Sparse(rows.indptr, rows.columns, rows.log_p, candidates=p.candidates, log_mass=log_mass)


def taught(q: Rows, teacher: Rows) -> Rows:
    r"""Rows with the anchors of q and the candidates of ``teacher``, detached: only anchors learn (theory 5).

    Make the two by one recipe: q from what is learned, ``teacher`` from an average of its past.

    Args:
        q: kernel or cluster rows, or a debiased one of these.
        teacher: of the same kind, over the same columns.

    Raises:
        TypeError: the two are not of one kind, or their candidates have no representation of their own.
        CandidatesError: they are not over the same anchors and columns.

    >>> import torch
    >>> from torchicon.neighborhoods import Dot
    >>> z, past = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])
    >>> taught(Dot()(z, z), Dot()(past, past)).dense().equal(Dot()(z, past).dense())
    True
    """
    check_comparable(q, teacher)
    if isinstance(q, Mixture) and isinstance(teacher, Mixture):
        return Mixture(taught(q.base, teacher.base), q.alpha)
    if isinstance(q, Kernel) and isinstance(teacher, Kernel) and type(q.score) is type(teacher.score):
        return q.with_keys(teacher.keys.detach())
    if isinstance(q, Cluster) and isinstance(teacher, Cluster):
        # Both normalizations scale an anchor's left by a number of its own, and so that its row sums to 1: by cluster
        # the teacher's columns sum to 1 (0 for a cluster nobody is in), by point left * sizes is the expected size.
        right = teacher.right.detach()
        total = (q.left * right.sum(0)).sum(1, keepdim=True)  # not @, which autocast would round
        return Cluster(q.left / torch.where(total == 0, 1.0, total), right, q.candidates)
    raise TypeError(
        f"A teacher stands on the candidates' side of two kernels of one score or two cluster neighborhoods, got {q} "
        f"and {teacher}."
    )
