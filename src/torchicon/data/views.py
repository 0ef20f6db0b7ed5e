"""Views of pictures: random crops, flips and colors, drawn for a whole batch at once and applied on its device.

What is drawn is apart from what is done with it. `View.draw` takes numbers for n pictures from a generator on the
CPU; `View.apply` changes pictures by them, on any device, in any part of the batch: several ranks that share a batch
see what one would, and a step can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from kornia.color import rgb_to_grayscale, rgb_to_lab
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation_with_gray_subtraction,
    solarize,
)
from kornia.filters import gaussian_blur2d
from torch import Generator, Tensor
from torch.nn import functional as F

_TRIES = 10  # crops that are drawn for a picture; the first that fits is taken, and else the whole picture
_SIGMA = (0.1, 2.0)  # of the blur, in pixels
_KNOWN_SIDE = 224  # pixels of the pictures that the papers blur by it
_LIGHTNESS, _CHROMA = 100.0, 110.0  # the range of L and of a and b in CIELAB


@final
@dataclass(frozen=True, kw_only=True)
class View:
    """How a picture becomes one view of it. Steps are done in the order of the fields; each is off at 0 or None.

    Args:
        crop: least share of the picture's area that a random crop keeps; its sides' ratio differs from the
            picture's by up to 4/3, and it is resized to the whole. None keeps the picture as it is.
        flip: probability to mirror it.
        color: probability to change its colors, by the four ranges that follow, in an order that is
            drawn once for all pictures.
        brightness: a factor is drawn from [1 - brightness, 1 + brightness].
        contrast: likewise.
        saturation: likewise.
        hue: as a share of the color wheel.
        gray: probability to drop its colors.
        blur: probability of a Gaussian blur.
        solarize: probability to invert what is not darker than the middle.

    Raises:
        ValueError: a field out of its range.

    >>> view = View(flip=1.0)
    >>> picture = torch.tensor([0.0, 0.5, 1.0]).expand(1, 3, 3, 3)
    >>> view.apply(picture, view.draw(1, torch.Generator()))[0, 0, 0].tolist()
    [1.0, 0.5, 0.0]
    """

    crop: float | None = None
    flip: float = 0.0
    color: float = 0.0
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    gray: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None:
                continue
            most = 0.5 if name == "hue" else 1.0
            if not 0 <= value <= most or (name == "crop" and value == 0):
                raise ValueError(
                    f"{name} of a view must lie in {'(0' if name == 'crop' else '[0'}, {most:g}], got {value}."
                )

    def draw(self, n: int, generator: Generator) -> dict[str, Tensor]:
        """What chance decides for n pictures: tensors (n, ...) on the generator's device, and the order of the colors.

        As many numbers are drawn whatever is switched off, so that switching one step leaves the others as they were.
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=generator, device=generator.device)

        return {
            "crop": uniform(4, _TRIES),
            "chance": uniform(5),
            "jitter": uniform(4) * 2 - 1,
            "sigma": uniform(1) * (_SIGMA[1] - _SIGMA[0]) + _SIGMA[0],
            "order": torch.randperm(4, generator=generator, device=generator.device),
        }

    def apply(self, pictures: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        """Views of pictures (n, 3, h, w) with values in [0, 1], by what was drawn for them.

        Args:
            pictures: float, on any device.
            drawn: of `draw`, or the part of it that is these pictures' (`part`).
        """
        # Who is changed is decided where it was drawn: on an accelerator every count of the chosen would wait for it.
        flip, color, gray, blur, invert = (drawn["chance"] < drawn["chance"].new_tensor(self._chances)).unbind(1)
        x = self._place(pictures, drawn["crop"].to(pictures), flip.to(pictures.device))
        if self.color > 0:
            x = _where(color, x, lambda some: self._jitter(some, drawn["jitter"][color].to(some), drawn["order"]))
        if self.gray > 0:
            x = _where(gray, x, lambda some: rgb_to_grayscale(some).expand_as(some))
        if self.blur > 0:
            x = _where(blur, x, lambda some: _blurred(some, drawn["sigma"][blur].to(some)))
        if self.solarize > 0:
            x = _where(invert, x, lambda some: solarize(some, 0.5))
        return x

    @property
    def _chances(self) -> tuple[float, ...]:
        return (self.flip, self.color, self.gray, self.blur, self.solarize)

    def _place(self, x: Tensor, drawn: Tensor, flip: Tensor) -> Tensor:
        """Crop and flip, in one resampling."""
        if self.crop is None:
            return torch.where(flip[:, None, None, None], x.flip(3), x) if self.flip > 0 else x
        width, height, left, top = _boxes(drawn, self.crop)
        theta = x.new_zeros(len(x), 2, 3)  # from the view's coordinates in [-1, 1] to the picture's
        theta[:, 0, 0] = torch.where(flip, -width, width)
        theta[:, 1, 1] = height
        theta[:, 0, 2] = 2 * left + width - 1
        theta[:, 1, 2] = 2 * top + height - 1
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _jitter(self, x: Tensor, drawn: Tensor, order: Tensor) -> Tensor:
        steps = (
            (adjust_brightness_accumulative, 1 + self.brightness * drawn[:, 0]),
            (adjust_contrast_with_mean_subtraction, 1 + self.contrast * drawn[:, 1]),
            (adjust_saturation_with_gray_subtraction, 1 + self.saturation * drawn[:, 2]),
            (adjust_hue, 2 * math.pi * self.hue * drawn[:, 3]),
        )
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        for step in order.tolist():
            adjust, factor = steps[step]
            if ranges[step] > 0:
                x = adjust(x, factor)
        return x


def part(drawn: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
    """What was drawn for some of the pictures."""
    return {name: value if name == "order" else value[rows] for name, value in drawn.items()}


def lab(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Lightness (n, 1, h, w) and the two colors (n, 2, h, w) of pictures in CIELAB: CMC's two views.

    Args:
        pictures: (n, 3, h, w) in [0, 1].

    Returns:
        Lightness in [0, 1], colors in about [-1, 1].

    >>> lightness, color = lab(torch.ones(1, 3, 2, 2))
    >>> round(float(lightness.mean()), 2), tuple(color.shape)
    (1.0, (1, 2, 2, 2))
    """
    split: Tensor = rgb_to_lab(pictures)
    return split[:, :1] / _LIGHTNESS, split[:, 1:] / _CHROMA


def _boxes(drawn: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Width, height, left and top (n,) of crops, as shares of the picture (Szegedy et al. 2015).

    Args:
        drawn: (n, 4, tries) uniform numbers.
        least: share of the area.
    """
    area = least + (1 - least) * drawn[:, 0]
    ratio = torch.exp(math.log(4 / 3) * (2 * drawn[:, 1] - 1))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(1, keepdim=True)  # of equal values the first
    found = fits.any(1)

    def chosen(values: Tensor) -> Tensor:
        return values.gather(1, first)[:, 0]

    width = torch.where(found, chosen(width), torch.ones_like(width[:, 0]))
    height = torch.where(found, chosen(height), torch.ones_like(height[:, 0]))
    return width, height, chosen(drawn[:, 2]) * (1 - width), chosen(drawn[:, 3]) * (1 - height)


def _blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Blurred by sigma (n, 1) with a kernel of a tenth of the size; above 224 pixels sigma grows with it."""
    side = min(x.shape[2:])
    kernel = max(3, 2 * (side // 20) + 1)
    blurred: Tensor = gaussian_blur2d(x, (kernel, kernel), (sigma * max(1.0, side / _KNOWN_SIDE)).expand(-1, 2))
    return blurred.clamp(0, 1)  # the kernel's weights sum to 1 up to rounding


def _where(chosen: Tensor, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Pictures of which the chosen ones are changed."""
    index = chosen.nonzero()[:, 0].to(x.device)
    return x.index_copy(0, index, change(x[index])) if len(index) else x


POLICIES: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    # Chen et al. 2020, appendix A: color strength 1 and blur on ImageNet; strength 1/2 and no blur on CIFAR-10.
    "simclr": (
        View(crop=0.08, flip=0.5, color=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, gray=0.2, blur=0.5),
    ),
    "simclr-small": (View(crop=0.08, flip=0.5, color=0.8, gray=0.2),),
    # Chen et al. 2021, appendix A, after BYOL: the two views differ.
    "moco-v3": (
        View(crop=0.2, flip=0.5, color=0.8, saturation=0.2, gray=0.2, blur=1.0),
        View(crop=0.2, flip=0.5, color=0.8, saturation=0.2, gray=0.2, blur=0.1, solarize=0.2),
    ),
    "crlc": (View(crop=0.2, flip=0.5, color=0.8, gray=0.2),),  # Do et al. 2021: crop, flip, colors, gray
    # Wu et al. 2018, and after it local aggregation and Wu et al. 2020: colors always change, hue as much as the rest.
    "wu": (View(crop=0.2, flip=0.5, color=1.0, hue=0.4, gray=0.2),),
}
