"""Kernel rows: softmax over candidates of a pairwise score, evaluated only where someone looks."""

from __future__ import annotations

import math
from copy import copy
from typing import final

import torch
from torch import Tensor

from torchicon.core.candidates import Candidates
from torchicon.core.members import Members
from torchicon.core.numerics import map_row_blocks
from torchicon.core.rows import Rows, Support, check_own, own_columns
from torchicon.core.score import Score
from torchicon.core.streaming import Tiling, log_normalizer

# A matrix product reads m columns about as fast as this fraction of them can be gathered.
_GATHER_FRACTION = 1 / 16
Excluded = tuple[Tensor, Tensor] | Members
_HALF = (torch.float16, torch.bfloat16)


@final
class Kernel(Rows):
    r"""Rows $q_{j|i} = e^{s_{ij}} / \sum_k e^{s_{ik}}$, with the normalizer streamed (memory linear in n and m).

    The normalizer is kept for the next question; like any value with a gradient, one kernel serves one backward pass.

    Args:
        score: the score s.
        anchors: (n, d) points.
        keys: (m, d) points that the columns are; the anchors themselves when omitted.
        candidates: identity of the columns. Omitted: the other anchors (self excluded), or all keys.
        row_scale: (n,) factor on each anchor's scores, such as a precision found from a perplexity; constant.
    """

    def __init__(
        self,
        score: Score,
        anchors: Tensor,
        keys: Tensor | None = None,
        *,
        candidates: Candidates | None = None,
        row_scale: Tensor | None = None,
    ) -> None:
        self.score = score
        self.anchors = score.features(anchors)
        # The very points again are no other keys: their scores stay symmetric.
        self.keys = self.anchors if keys is None or keys is anchors else score.features(keys)
        self._half = all(x.dtype in _HALF for x in (anchors, keys) if x is not None)
        if candidates is None:
            candidates = Candidates.others(len(anchors)) if keys is None else Candidates.all(len(self.keys))
        if candidates.size != len(self.keys):
            raise ValueError(f"There are {len(self.keys)} keys but the candidates are {candidates}.")
        check_own(len(anchors), candidates)
        self.candidates = candidates
        self.row_scale = None if row_scale is None else row_scale.detach().to(self.anchors.dtype)
        self._log_normalizer: Tensor | None = None

    @property
    def n(self) -> int:
        """Number of anchors."""
        return len(self.anchors)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the features."""
        return self.anchors.dtype

    def tiling(self, excluding: Excluded | None = None) -> Tiling:
        """How the normalizer is streamed; ``excluding`` names cells (anchor, column), or members, to leave out."""
        groups = None
        if isinstance(excluding, Members):
            groups, excluding = (excluding.group, excluding.of_key), None
        diagonal = self.candidates.excludes_self
        if diagonal and self.candidates.first:  # the own cells are beside the diagonal: named one by one
            anchor = torch.arange(self.n, device=self.anchors.device)
            column = anchor + self.candidates.first
            also = excluding or (anchor[:0], column[:0])
            excluding, diagonal = (torch.cat([also[0], anchor]), torch.cat([also[1], column])), False
        return Tiling(
            (self.n, self.m),
            self.dtype,
            self.anchors.device,
            symmetric=self.keys is self.anchors and self.row_scale is None,
            own=diagonal,
            edges=excluding,
            groups=groups,
        )

    def log_normalizer(self, excluding: Excluded | None = None) -> Tensor:
        """Log-sum-exp of each anchor's scores over its candidates, (n,); without the cells ``excluding`` names."""
        if excluding is not None:
            return self._stream(self.tiling(excluding))
        learned = torch.is_grad_enabled() and (self.anchors.requires_grad or self.keys.requires_grad)
        # A normalizer computed under no_grad must not be reused where a gradient is wanted.
        if self._log_normalizer is None or (learned and not self._log_normalizer.requires_grad):
            self._log_normalizer = self._stream(self.tiling())
        return self._log_normalizer

    def _stream(self, tiling: Tiling) -> Tensor:
        return log_normalizer(self.score, self.anchors, self.keys, tiling, self.row_scale, half=self._half)

    def prepare(self) -> None:
        """Stream the normalizer once, before blocks of rows ask for it."""
        self.log_normalizer()

    def score_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Scores of these rows at ``columns`` (b, s), or at all columns; -inf at an excluded self."""
        with torch.autocast(self.anchors.device.type, enabled=False):
            if columns is None:
                scores = self.score.pairwise(self.anchors[rows], self.keys)
            elif columns.shape[1] > _GATHER_FRACTION * self.m:
                scores = self.score.pairwise(self.anchors[rows], self.keys).gather(1, columns)
            else:
                keys = torch.nn.functional.embedding(columns, self.keys)  # its gradient is cheaper than an index's
                scores = self.score.paired(self.anchors[rows], keys)
        if self.row_scale is not None:
            scores = scores * self.row_scale[rows, None]
        own = own_columns(rows, scores.shape, self.candidates, device=scores.device, columns=columns)
        return scores.masked_fill(own, -math.inf)

    def log_at(self, columns: Tensor | None, rows: slice) -> Tensor:
        """Scores minus the normalizer."""
        return self.score_at(columns, rows) - self.log_normalizer()[rows, None]

    def support(self, rows: slice) -> Support:
        """All columns of these rows."""
        return Support(None, self.log_at(None, rows))

    def empty(self, rows: slice) -> Tensor:
        """No row is: a score is never -inf, and every anchor has a candidate."""
        return torch.zeros(rows.stop - rows.start, dtype=torch.bool, device=self.anchors.device)

    def log_mass(self) -> Tensor:
        """Each anchor's share when the kernel is normalized over all pairs (theory 1)."""
        return self.log_normalizer().log_softmax(0)

    def mean_score(self, over: Candidates) -> Tensor:
        """Mean over the candidates ``over`` of an anchor's scores, (n,); in O(n d) where it has a closed form.

        -inf where they include the self that this kernel has not.
        """
        check_own(self.n, over)
        with torch.autocast(self.anchors.device.type, enabled=False):
            mean = self.score.mean_pairwise(self.anchors, self.keys)
            if mean is None or (self.candidates.excludes_self and not over.excludes_self):
                return self._mean_over_pairs(over)
            if over.excludes_self:
                own = self.score.paired(self.anchors, self.keys[over.own(slice(0, self.n)), None])[:, 0]
                mean = (mean * self.m - own) / over.per_anchor
        return mean if self.row_scale is None else mean * self.row_scale

    def _mean_over_pairs(self, over: Candidates) -> Tensor:
        def block(rows: slice) -> Tensor:
            scores = self.score_at(None, rows)
            own = own_columns(rows, scores.shape, over, device=scores.device)
            return torch.where(own, 0.0, scores).sum(-1) / over.per_anchor

        return map_row_blocks(block, self.n, self.bytes_per_row(self.m, gathered=False))

    def mean_log(self, over: Candidates) -> Tensor:
        """The mean score minus the normalizer."""
        return self.mean_score(over) - self.log_normalizer()

    def tempered(self, precision: float) -> Kernel:
        """The same kernel with all scores times ``precision``: wide below 1, narrow above.

        Raises:
            ValueError: a precision that is not positive and finite; the limits are in `torchicon.core.limits`.
        """
        if not 0 < precision < math.inf:
            raise ValueError(f"A precision must be positive and finite, got {precision}.")
        tempered = self._copy()
        scale = self.anchors.new_full((self.n,), precision)
        tempered.row_scale = scale if self.row_scale is None else scale * self.row_scale
        return tempered

    def with_keys(self, keys: Tensor) -> Kernel:
        """The same anchors over other keys (m, d), given as features of the same score."""
        other = self._copy()
        other.keys, other._half = keys, False
        return other

    def _copy(self) -> Kernel:
        """A copy that has forgotten its normalizer."""
        other = copy(self)
        other._log_normalizer = None
        return other

    def bytes_per_row(self, cells: int, *, gathered: bool) -> int:
        """As ever; where gathering many cells means to score all m, these count."""
        if gathered and cells > _GATHER_FRACTION * self.m:
            cells, gathered = self.m, False
        return super().bytes_per_row(cells, gathered=gathered)

    def work_per_cell(self, *, gathered: bool) -> int:
        """A gathered cell holds its key's features, their difference, and its gradient."""
        return 3 * self.keys.shape[1] + 4 if gathered else 6
