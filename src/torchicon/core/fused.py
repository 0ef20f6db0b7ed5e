r"""The log-normalizer $\log \sum_j e^{s_{ij}}$ on a CUDA device, fused: scores never leave the registers.

A tile of scores in torch is written and read some eight times; here each is made, used and forgotten. The forward pass
makes all scores once, 2 n m d operations; the backward pass makes them again and takes one product, 4 n m d, or twice
that where anchors and candidates differ. Nothing is larger than the features and their gradients.

**Exactness.** Sums are float32. Products of float32 features are taken in three tf32 parts, which lose about two of
float32's bits. Features of half-precision points are rounded to tf32's 11 significant bits (bfloat16 has 8, float16 11)
and weights in the gradient too, a relative 2^-12 each: a third of the work.

The kernels themselves are in `torchicon.core.fused_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from torchicon.core.score import FusedForm, Score

if TYPE_CHECKING:
    from torchicon.core.streaming import Tiling

_MAX_DIMENSIONS = 1024  # above, scores would be made again for more than eight blocks of a gradient
_MAX_LISTED = 8  # cells that an anchor may list as left out: each is compared with every candidate
_DIFFERENCE_DIMENSIONS = 4  # up to here distances are summed from differences: exact, and cheaper than a padded product
_CAPABILITY = (8, 0)  # the first devices with tf32
_PROGRAMS = 264  # two for each multiprocessor of an H100; fewer rows than that share out the candidates

_Side = Literal["x", "y", "both"]


class Blocks(NamedTuple):
    """How a kernel cuts its work: ``rows`` x ``columns`` scores at a time, made of ``step`` dimensions a product.

    A gradient is made ``dims`` dimensions at a time, by ``warps`` warps of 32 threads. Few dimensions need no product:
    distances are summed from ``differences``.
    """

    rows: int
    columns: int
    step: int
    dims: int
    warps: int
    differences: bool = False


def blocks(d: int, *, radial: bool, precision: str) -> Blocks:
    """Blocks for d dimensions that need at most 96 KiB of shared memory, which every device with tf32 has.

    Where d fits one block, the rows' features stay in shared memory for the whole pass, in tf32x3 as two parts. Beyond,
    they are read step by step, and larger tiles make up for it.
    """
    if radial and d <= _DIFFERENCE_DIMENSIONS:
        return Blocks(64, 64, _DIFFERENCE_DIMENSIONS, _DIFFERENCE_DIMENSIONS, 8, differences=True)
    if d > 128:
        return Blocks(128, 64, 32, 128, 8)
    dims = max(16, 1 << (d - 1).bit_length())  # a power of two, and at least what a matrix unit takes
    return Blocks(64, 32 if dims == 128 and precision == "tf32x3" else 64, dims, dims, 4)


@dataclass(frozen=True)
class FusedNormalizer:
    """A log-normalizer that the kernels can do, without its features.

    form: the score.
    own: leave out cell (i, i).
    listed: (n, k) int32 columns that each anchor leaves out, -1 for none; None without any.
    symmetric: the anchors are the candidates, and cells are left out symmetrically.
    precision: of products, Triton's name.
    """

    form: FusedForm
    own: bool
    listed: Tensor | None
    symmetric: bool
    precision: Literal["tf32", "tf32x3"]

    @classmethod
    def of(cls, score: Score, a: Tensor, b: Tensor, tiling: Tiling, *, half: bool) -> FusedNormalizer | None:
        """The normalizer of these features, or None where tiles have to do it.

        That is: no CUDA device with tf32, no Triton, a score without `Score.fused_form`, float64, more than 1,024
        dimensions, an anchor that lists more than 8 cells as left out, or groups that are.
        """
        form = score.fused_form() if runs_on(a.device) and tiling.groups is None else None
        if form is None or a.dtype != torch.float32 or not 0 < a.shape[1] <= _MAX_DIMENSIONS or not len(a):
            return None
        listed = None
        if tiling.edges is not None:
            listed = list_columns(*tiling.edges, len(a))
            if listed is None:
                return None
        return cls(form, tiling.own, listed, tiling.symmetric, "tf32" if half else "tf32x3")

    def log_normalizer(self, a: Tensor, b: Tensor, row_scale: Tensor | None) -> Tensor:
        """(n,) for anchors a (n, d) and keys b (m, d); -inf for an anchor without candidates."""
        x, y = self._points(a, b)
        n, m, cut = len(x), len(y), self._blocks(x)
        shares, share = _shares(-(-n // cut.rows), m, cut.columns)
        result = x.new_empty(shares, n)
        tensors = (*self._tensors(x, y, row_scale), result)
        self._launch("log_normalizer", (-(-n // cut.rows), shares), cut, tensors, share, SCALED=row_scale is not None)
        return result.logsumexp(0)

    def pull_back(
        self,
        a: Tensor,
        b: Tensor,
        row_scale: Tensor | None,
        lse: Tensor,
        grad: Tensor,
        learned: tuple[bool, bool] = (True, True),
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of ``(grad * log_normalizer).sum()``: (n, d), and (m, d) where the keys are not the anchors.

        Args:
            lse: (n,) the normalizer; 0, with a gradient 0, for an anchor without candidates.
            learned: whether anchors and keys want theirs; a memory bank does not.
        """
        x, y = self._points(a, b)
        if self.symmetric:
            return self._pull_back(x, y, row_scale, lse, grad, "both"), None
        of_a = self._pull_back(x, y, row_scale, lse, grad, "x") if learned[0] else None
        return of_a, self._pull_back(y, x, row_scale, lse, grad, "y") if learned[1] else None

    def _pull_back(
        self, x: Tensor, y: Tensor, row_scale: Tensor | None, lse: Tensor, grad: Tensor, anchors: _Side
    ) -> Tensor:
        (n, d), m, cut = x.shape, len(y), self._blocks(x)
        across = -(-d // cut.dims)
        shares, share = _shares(-(-n // cut.rows) * across, m, cut.columns)
        result = x.new_empty(shares, n, d)
        tensors = (*self._tensors(x, y, row_scale), lse.contiguous(), grad.contiguous(), result)
        grid = (-(-n // cut.rows), shares, across)
        scaled = row_scale is not None
        self._launch("pull_back", grid, cut, tensors, share, SCALED=scaled, ANCHORS=anchors, DIMS=cut.dims)
        return result.sum(0)

    def _points(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Features as the kernels read them: contiguous, and around their center if products make distances."""
        if not self._blocks(a).differences:
            if self.form.of != "inner":
                center = b.mean(0)  # far from the origin the terms of an expanded square would cancel
                a, b = a - center, b - center
            if self.precision == "tf32":
                a, b = round_to_tf32(a), round_to_tf32(b)
        a = a.contiguous()
        return a, a if self.symmetric else b.contiguous()

    def _blocks(self, x: Tensor) -> Blocks:
        return blocks(x.shape[1], radial=self.form.of != "inner", precision=self.precision)

    def _tensors(self, x: Tensor, y: Tensor, row_scale: Tensor | None) -> tuple[Tensor, ...]:
        """What both kernels read. Any tensor stands for one that they will not look at."""
        sq_x, sq_y = (x, y) if self.form.of == "inner" else (x.square().sum(1), y.square().sum(1))
        scale = x if row_scale is None else row_scale.contiguous()
        return x, y, sq_x, sq_y, scale, x if self.listed is None else self.listed

    def _launch(
        self, name: str, grid: tuple[int, ...], cut: Blocks, tensors: tuple[Tensor, ...], share: int, **more: object
    ) -> None:
        from torchicon.core import fused_kernels  # Triton is loaded where it runs, and not before

        x, y, *_ = tensors
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            getattr(fused_kernels, name)[grid](
                *tensors, len(x), len(y), self.form.factor, share, U=self.form.of, D=x.shape[1], OWN=self.own,
                LISTED=0 if self.listed is None else self.listed.shape[1], PRECISION=self.precision, ROWS=cut.rows,
                COLUMNS=cut.columns, STEP=cut.step, DIFFERENCES=cut.differences, **more, num_warps=cut.warps,
                num_stages=1,
            )  # fmt: skip


@cache
def runs_on(device: torch.device) -> bool:
    """Whether the kernels run there."""
    nvidia = device.type == "cuda" and torch.version.hip is None
    return nvidia and torch.cuda.get_device_capability(device) >= _CAPABILITY and find_spec("triton") is not None


def list_columns(anchor: Tensor, column: Tensor, n: int) -> Tensor | None:
    """Cells (e,) as a list of columns for each anchor, (n, k) int32, -1 for none; None where k would pass 8.

    >>> list_columns(torch.tensor([2, 0, 2]), torch.tensor([5, 6, 7]), n=3)
    tensor([[ 6, -1],
            [-1, -1],
            [ 5,  7]], dtype=torch.int32)
    """
    count = torch.bincount(anchor, minlength=n)
    longest = int(count.max())
    if longest > _MAX_LISTED:
        return None
    width = 1 << max(0, longest - 1).bit_length()  # a kernel is compiled for each width
    anchor, order = torch.sort(anchor, stable=True)
    place = torch.arange(len(anchor), device=anchor.device) - (count.cumsum(0) - count)[anchor]
    listed = torch.full((n, width), -1, dtype=torch.int32, device=anchor.device)
    listed[anchor, place] = column[order].to(torch.int32)
    return listed


def round_to_tf32(x: Tensor) -> Tensor:
    """To the nearest number of 11 significant bits; NaN stays. A matrix unit would cut the others off, towards 0.

    >>> round_to_tf32(torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11 + 2**-20])) - 1
    tensor([0.0000, 0.0010, 0.0010])
    """
    rounded = (x.contiguous().view(torch.int32) + 0x1000 & -0x2000).view(torch.float32)
    return torch.where(x.isnan(), x, rounded)  # the bits of CUDA's NaN would pass over into the sign


def _shares(rows: int, m: int, columns: int) -> tuple[int, int]:
    """Into how many shares m columns are cut, and how long each is, so that few blocks of rows fill a device too."""
    across = -(-m // columns)
    most = min(across, max(1, _PROGRAMS // rows))
    share = -(-across // most)
    return -(-across // share), share * columns
