"""Radial kernel sums in one to three dimensions by FFT on a lattice of fixed spacing.

Charges are spread to the lattice by cubic B-splines B (four nodes a dimension), convolved, and read back by them:

    K(x - y) ~ sum_ab B(x - a) C(a - b) B(y - b).

The middle factor depends on a - b alone, so the convolution is an FFT. Averaged over where the lattice happens to lie,
the right-hand side is the order-8 spline with coefficients C; C is chosen so that this spline passes through K at the
lags of the lattice. This is FIt-SNE (Linderman et al., Nature Methods 2019) with splines in place of a Lagrange
polynomial in each box: smooth, unbiased, and more exact for the same stencil and lattice. Gradients are sums of the
derivative of the kernel, read in the same way rather than differentiated.

At half the kernel's width between nodes, one pair of a Cauchy kernel errs by at most .01, .02, .03 K(0) in one, two
and three dimensions, a Gaussian by a third of that; summed over all pairs the errors cancel to about 2e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import torch
from torch import Tensor

__all__ = ["Lattice", "LatticeField", "Spectra"]

# Nodes kept free on each side. The spline coefficients of a kernel cut off at the lattice's end ring like .535^nodes;
# the lags in use stay 20 nodes away from there (1e-6), and the stencil needs two nodes anyway.
_MARGIN = 12
_LENGTHS = sorted(
    2**a * 3**b * 5**c for a, b, c in product(range(1, 15), range(4), range(3)) if 32 <= 2**a * 3**b * 5**c <= 1 << 14
)


@dataclass(frozen=True)
class Lattice:
    """A cubic lattice over a box.

    Attributes:
        low: the box's lowest corner.
        spacing: distance of two nodes.
        lengths: nodes of each side, padded for the FFT.
    """

    low: tuple[float, ...]
    spacing: float
    lengths: tuple[int, ...]

    @classmethod
    def covering(cls, low: Tensor, high: Tensor, spacing: float, max_nodes: int) -> Lattice:
        """The smallest lattice over the box from low to high (d,), coarser than `spacing` only beyond `max_nodes`.

        A map much smaller than the spacing gets a finer lattice, in powers of two so that the spectra can stay.
        """
        extents = (high - low).double().tolist()
        while 0 < max(extents) < 4 * spacing:
            spacing /= 2
        while True:
            wanted = [2 * (ceil(extent / spacing) + 2 * _MARGIN) for extent in extents]
            lengths = tuple(next((size for size in _LENGTHS if size >= w), 0) for w in wanted)
            if all(lengths) and prod(lengths) <= max_nodes:
                break
            spacing *= 2
        return cls(tuple(low.double().tolist()), spacing, lengths)

    @property
    def sides(self) -> tuple[int, ...]:
        """Nodes of each side that carry charges: half of the padded ones, so that the convolution does not wrap."""
        return tuple(length // 2 for length in self.lengths)

    @property
    def nodes(self) -> int:
        """Nodes of the padded lattice, on which the FFT works."""
        return prod(self.lengths)

    def stencil(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The 4^d nodes around each point and their B-spline weights, (4^d, n) each. Points must lie in the box."""
        index, weight = points.new_zeros(1, len(points), dtype=torch.int32), points.new_ones(1, len(points))
        steps = torch.arange(-1, 3, dtype=torch.int32, device=points.device).unsqueeze(1)
        for axis, side in enumerate(self.sides):
            # relative to the box before anything else: far from the origin this difference is what float32 still knows
            position = (points[:, axis] - self.low[axis]) / self.spacing + _MARGIN
            cell = position.floor()
            nodes = steps + cell.int()  # (4, n): the points come last, so that every operation runs along memory
            index = (index.unsqueeze(1) * side + nodes).flatten(0, 1)
            weight = (weight.unsqueeze(1) * _cubic_spline(position.sub_(cell))).flatten(0, 1)
        return index, weight


def _cubic_spline(t: Tensor) -> Tensor:
    """Weights (4, n) of the four nodes around places t (n,) in [0, 1) of a cell."""
    u = 1 - t
    t2, u2 = t.square(), u.square()
    t3, u3 = t2 * t, u2 * u
    return torch.stack((u3, 4 - 6 * t2 + 3 * t3, 4 - 6 * u2 + 3 * u3, t3)).div_(6)


class Spectra:
    """Fourier transforms of the spline coefficients of a kernel and of its d derivatives, kept while the lattice stays.

    Args:
        kernel: K as a function of squared distances.
        slope: its derivative with respect to the squared distance.
    """

    def __init__(self, kernel: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> None:
        self.kernel = kernel
        self.slope = slope
        self._key: object = None
        self._value: Tensor | None = None
        self._gradient: list[Tensor] | None = None

    def _select(self, lattice: Lattice, like: Tensor) -> None:
        key = (lattice.spacing, lattice.lengths, like.dtype, like.device)
        if key != self._key:
            self._key, self._value, self._gradient = key, None, None

    def value(self, lattice: Lattice, like: Tensor) -> Tensor:
        """Spectrum of K, real because K is even."""
        self._select(lattice, like)
        if self._value is None:
            _, sq_dist = _offsets(lattice, like.device)
            self._value = _spline_spectrum(self.kernel(sq_dist)).real.to(like.dtype)
        return self._value

    def gradient(self, lattice: Lattice, like: Tensor) -> list[Tensor]:
        """Spectra of the d components of grad K, imaginary because each is odd."""
        self._select(lattice, like)
        if self._gradient is None:
            offsets, sq_dist = _offsets(lattice, like.device)
            slope = 2 * self.slope(sq_dist)
            self._gradient = []
            for axis, offset in enumerate(offsets):
                component = slope * offset
                # at half the period an odd function equals minus itself
                component.narrow(axis, component.shape[axis] // 2, 1).zero_()
                imaginary = _spline_spectrum(component).imag.to(like.dtype)
                self._gradient.append(torch.complex(torch.zeros_like(imaginary), imaginary))
        return self._gradient


def _offsets(lattice: Lattice, device: torch.device) -> tuple[list[Tensor], Tensor]:
    """Differences of two nodes in wrapped order, one broadcastable axis each, and their squared lengths, in float64."""
    offsets = []
    for axis, length in enumerate(lattice.lengths):
        steps = torch.fft.fftfreq(length, 1 / length, dtype=torch.float64, device=device) * lattice.spacing
        offsets.append(steps.reshape([-1 if other == axis else 1 for other in range(len(lattice.lengths))]))
    sq_dist = torch.zeros((), dtype=torch.float64, device=device)
    for offset in offsets:
        sq_dist = sq_dist + offset.square()
    return offsets, sq_dist


def _spline_spectrum(samples: Tensor) -> Tensor:
    """FFT of the coefficients of the order-8 (degree-7) spline through `samples`: B on each side is B * B = B_8."""
    spectrum: Tensor = torch.fft.rfftn(samples)
    for axis, length in enumerate(samples.shape):
        count = spectrum.shape[axis]
        angle = 2 * torch.pi / length * torch.arange(count, dtype=torch.float64, device=samples.device)
        # B_8 at its seven nodes is (1, 120, 1191, 2416, 1191, 120, 1) / 5040
        sampled_spline = (1208 + 1191 * angle.cos() + 120 * (2 * angle).cos() + (3 * angle).cos()) / 2520
        shape = [-1 if other == axis else 1 for other in range(samples.ndim)]
        spectrum = spectrum / sampled_spline.reshape(shape)
    return spectrum


class LatticeField:
    """sum_j K(|x - y_j|^2) v_j at any x of the lattice's box, for sources y (n, d) with charges v (n, r).

    The charges are spread and transformed once, at construction.
    """

    def __init__(self, sources: Tensor, charges: Tensor, spectra: Spectra, lattice: Lattice) -> None:
        self.spectra = spectra
        self.lattice = lattice
        self._sources, self._stencil = sources, lattice.stencil(sources)
        index, weight = self._stencil
        self._waves: list[Tensor] = []
        for charge in charges.unbind(1):
            grid = sources.new_zeros(prod(lattice.sides))
            grid.index_add_(0, index.flatten(), (weight * charge).flatten())
            self._waves.append(self._transform(grid.view(lattice.sides)))
        self._value: list[Tensor] | None = None
        self._gradient: list[Tensor] | None = None

    def _transform(self, grid: Tensor) -> Tensor:
        """Padded transform, axis by axis, so that rows of padding are not transformed."""
        wave: Tensor = torch.fft.rfft(grid, n=self.lattice.lengths[-1])
        for axis in reversed(range(grid.ndim - 1)):
            wave = torch.fft.fft(wave, n=self.lattice.lengths[axis], dim=axis)
        return wave

    def _potential(self, wave: Tensor) -> Tensor:
        """Inverse transform, cut to the nodes in use axis by axis, so that the padding is not transformed further."""
        for axis, side in enumerate(self.lattice.sides[:-1]):
            wave = torch.fft.ifft(wave, dim=axis).narrow(axis, 0, side)
        potential: Tensor = torch.fft.irfft(wave, n=self.lattice.lengths[-1])
        return potential[..., : self.lattice.sides[-1]].flatten()

    def _gather(self, potentials: list[Tensor], points: Tensor) -> Tensor:
        index, weight = self._stencil if points is self._sources else self.lattice.stencil(points)
        flat = index.flatten()
        return torch.stack(
            [values.index_select(0, flat).view_as(weight).mul_(weight).sum(0) for values in potentials], dim=1
        )

    def energy(self) -> Tensor:
        """sum_i v_i . (the sum at source i), self included: a scalar in float64, from the spectrum (Parseval)."""
        spectrum = self.spectra.value(self.lattice, self._sources)
        last = self.lattice.lengths[-1]
        total = torch.zeros((), dtype=torch.float64, device=spectrum.device)
        for wave in self._waves:
            power = wave.real.square().addcmul_(wave.imag, wave.imag).mul_(spectrum)
            columns = power.reshape(-1, power.shape[-1]).sum(0, dtype=torch.float64)
            total += 2 * columns.sum() - columns[0] - columns[last // 2]  # a real transform keeps half the columns
        return total / prod(self.lattice.lengths)

    def values(self, points: Tensor) -> Tensor:
        """The sums at points (m, d): (m, r)."""
        if self._value is None:
            spectrum = self.spectra.value(self.lattice, self._sources)
            self._value = [self._potential(wave * spectrum) for wave in self._waves]
        return self._gather(self._value, points)

    def gradients(self, points: Tensor) -> Tensor:
        """Their gradients with respect to the points: (m, r, d)."""
        if self._gradient is None:
            spectra = self.spectra.gradient(self.lattice, self._sources)
            self._gradient = [self._potential(wave * spectrum) for wave in self._waves for spectrum in spectra]
        return self._gather(self._gradient, points).view(len(points), len(self._waves), points.shape[1])
