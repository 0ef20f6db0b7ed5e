"""Sums of a radial kernel over all sources: exact tiles, or FFT interpolation where that is cheaper.

Every all-pairs term of a neighbor embedding is such a sum: the normalizers, and the forces as their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchicon.core.fft_sum import Lattice, LatticeField, Spectra
from torchicon.core.numerics import block_budget, block_bytes, row_blocks

__all__ = ["ExactField", "KernelSum", "RadialFunction", "kernel_sum"]

RadialFunction = Callable[[Tensor], Tensor]
"""A function of squared distances, applied to each entry."""

# Costs on one CPU core, in nanoseconds: a pair of an exact tile, a node of the padded lattice. Their ratio decides.
_PAIR_COST = 8.0
_NODE_COST = 30.0
_EXACT_PAIRS = 200_000  # up to here exact sums take a millisecond or two
_MAX_NODES = 1 << 25
_CACHE_BYTES = 2 << 20  # on a CPU, tiles that stay in its cache are twice as fast as larger ones


class KernelSum:
    """Sums of one radial kernel over changing points; remembers the kernel's spectra while the lattice stays the same.

    Args:
        kernel: K as a function of squared distances, applied elementwise.
        slope: its derivative with respect to the squared distance; by autograd when left out.
        spacing: distance of two lattice nodes, in the units of the points. Half the kernel's width is a good choice,
            where the width is sqrt(K(0) / -K'(0)); the error falls with its fourth power.

    >>> cauchy = KernelSum(lambda sq_dist: 1 / (1 + sq_dist))
    >>> y = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    >>> cauchy.field(y, torch.ones(2, 1)).values(y)
    tensor([[1.5000],
            [1.5000]])
    """

    def __init__(self, kernel: RadialFunction, slope: RadialFunction | None = None, *, spacing: float = 0.5) -> None:
        if not spacing > 0:
            raise ValueError(f"spacing must be positive, got {spacing}.")
        self.kernel = kernel
        self.slope = _derivative(kernel) if slope is None else slope
        self.spacing = spacing
        self._spectra = Spectra(self.kernel, self.slope)

    def field(
        self,
        sources: Tensor,
        charges: Tensor,
        *,
        box: tuple[Tensor, Tensor] | None = None,
        reads: int | None = None,
    ) -> Field:
        """The potential of charges (n, r) at sources (n, d), to be read anywhere in a box.

        Exact tiles for few pairs; else the cheaper of tiles and FFT, which serves one to three dimensions.

        Args:
            sources: (n, d) points.
            charges: (n, r) one row a source.
            box: lowest and highest corner (d,) of where it will be read; left out, that of the sources.
            reads: how many points will read it; left out, as many as there are sources.

        Raises:
            ValueError: shapes that do not fit, or tensors that require a gradient.
        """
        _check(sources, charges)
        if torch.is_grad_enabled() and (sources.requires_grad or charges.requires_grad):
            raise ValueError("A field carries no gradient: use kernel_sum, or work under torch.no_grad().")
        reads = len(sources) if reads is None else reads
        if sources.shape[1] > 3 or len(sources) * reads <= _EXACT_PAIRS:
            return ExactField(sources, charges, self.kernel, self.slope)
        low, high = sources.amin(0), sources.amax(0)
        if box is not None:
            low, high = torch.minimum(low, box[0]), torch.maximum(high, box[1])
        lattice = Lattice.covering(low, high, self.spacing, _MAX_NODES)
        if len(sources) * reads * _PAIR_COST <= lattice.nodes * _NODE_COST:
            return ExactField(sources, charges, self.kernel, self.slope)
        return LatticeField(sources, charges, self._spectra, lattice)


class ExactField:
    """sum_j K(|x - y_j|^2) v_j at any x, for sources y (n, d) with charges v (n, r), by tiles of all pairs."""

    def __init__(self, sources: Tensor, charges: Tensor, kernel: RadialFunction, slope: RadialFunction) -> None:
        self.sources, self.charges, self.kernel, self.slope = sources, charges, kernel, slope

    def energy(self) -> Tensor:
        """sum_i v_i . (the sum at source i), self included: a scalar in float64."""
        return (self.values(self.sources) * self.charges).sum(dtype=torch.float64)

    def values(self, points: Tensor) -> Tensor:
        """The sums at points (m, d): (m, r)."""
        result = points.new_empty(len(points), self.charges.shape[1])
        for rows in self._tiles(points):
            result[rows] = self.kernel(_sq_dist(self._differences(points[rows]))) @ self.charges
        return result

    def gradients(self, points: Tensor) -> Tensor:
        """Their gradients with respect to the points: (m, r, d)."""
        result = points.new_empty(len(points), self.charges.shape[1], points.shape[1])
        for rows in self._tiles(points):
            differences = self._differences(points[rows])
            weight = 2 * self.slope(_sq_dist(differences))
            for axis, difference in enumerate(differences):
                result[rows, :, axis] = (weight * difference) @ self.charges
        return result

    def _tiles(self, points: Tensor) -> list[slice]:
        budget = min(block_bytes(), _CACHE_BYTES) if points.device.type == "cpu" else block_bytes()
        with block_budget(budget):
            # the differences of each axis and about four intermediates live at once
            return row_blocks(len(points), (points.shape[1] + 4) * len(self.sources) * points.element_size())

    def _differences(self, points: Tensor) -> list[Tensor]:
        return [
            mine.unsqueeze(1) - theirs for mine, theirs in zip(points.unbind(1), self.sources.unbind(1), strict=True)
        ]


Field = ExactField | LatticeField


def kernel_sum(
    y: Tensor,
    v: Tensor,
    kernel: RadialFunction,
    *,
    sources: Tensor | None = None,
    spacing: float = 0.5,
) -> Tensor:
    r"""Sum over sources j of $K(|y_i - y_j|^2) v_j$ for each point i, in memory linear in their number.

    A point that is also a source meets itself: subtract K(0) v_i to leave it out. Gradients flow into points, sources
    and charges, by sums of the same kind; for several sums of one kernel without them, hold a `KernelSum`, which keeps
    the spectrum.

    Args:
        y: (m, d) points.
        v: (n, r) one row of charges a source.
        kernel: K, a function of squared distances.
        sources: (n, d); y itself when left out.
        spacing: distance of two lattice nodes where the FFT is used (1 to 3 dimensions and many points).

    Raises:
        ValueError: shapes that do not fit.

    >>> kernel_sum(torch.zeros(3, 2), torch.ones(3, 1), lambda sq_dist: torch.exp(-sq_dist)).squeeze(1)
    tensor([3., 3., 3.])
    """
    sources = y if sources is None else sources
    _check(y)
    _check(sources, v)
    if y.shape[1] != sources.shape[1]:
        raise ValueError(f"Points have {y.shape[1]} dimensions but the sources {sources.shape[1]}.")
    result: Tensor = _Sum.apply(y, sources, v, KernelSum(kernel, spacing=spacing))  # type: ignore[no-untyped-call]
    return result


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, sources: Tensor, v: Tensor, sums: KernelSum) -> Tensor:
        ctx.save_for_backward(y, sources, v)
        ctx.sums, ctx.field = sums, sums.field(sources, v, box=_box(y), reads=len(y))
        result: Tensor = ctx.field.values(y)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True; what follows would be taken for constants
            raise NotImplementedError("kernel_sum has no second derivative: drop create_graph=True.")
        y, sources, v = ctx.saved_tensors
        of_y = torch.einsum("mrd,mr->md", ctx.field.gradients(y), grad) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:3]):
            return of_y, None, None, None
        # Seen from the sources, the points are sources of charge grad.
        seen = ctx.sums.field(y, grad, box=_box(sources), reads=len(sources))
        of_sources = torch.einsum("nrd,nr->nd", seen.gradients(sources), v) if ctx.needs_input_grad[1] else None
        return of_y, of_sources, seen.values(sources) if ctx.needs_input_grad[2] else None, None


def _box(points: Tensor) -> tuple[Tensor, Tensor] | None:
    return (points.amin(0), points.amax(0)) if len(points) else None


def _sq_dist(differences: list[Tensor]) -> Tensor:
    total = differences[0].square()
    for difference in differences[1:]:
        total.addcmul_(difference, difference)
    return total


def _derivative(kernel: RadialFunction) -> RadialFunction:
    def slope(sq_dist: Tensor) -> Tensor:
        with torch.enable_grad():
            variable = sq_dist.detach().requires_grad_()
            (result,) = torch.autograd.grad(kernel(variable).sum(), variable)
        return result

    return slope


def _check(points: Tensor, charges: Tensor | None = None) -> None:
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(f"Points must be (n, d) with d >= 1, got {tuple(points.shape)}.")
    if charges is not None and (charges.ndim != 2 or len(charges) != len(points)):
        raise ValueError(f"Charges must be ({len(points)}, r), one row a source, got {tuple(charges.shape)}.")
