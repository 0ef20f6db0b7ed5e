"""Residual networks for small and large pictures, in one compact file (He et al. 2016, 1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

Stem = Literal["small", "large"]


class _Block(nn.Module):
    """Two 3 x 3 convolutions, or with a bottleneck 1 x 1, 3 x 3, 1 x 1 and four times the channels; and a shortcut.

    The last normalization starts at zero, so that a block starts as its shortcut (Goyal et al. 2017).
    """

    def __init__(self, n_in: int, width: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        n_out = width * (4 if bottleneck else 1)
        if bottleneck:
            shape = [(n_in, width, 1, 1), (width, width, 3, stride), (width, n_out, 1, 1)]
        else:
            shape = [(n_in, width, 3, stride), (width, n_out, 3, 1)]
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, step in shape:
            layers += [_convolution(inputs, outputs, kernel, step), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers[:-1])
        last = self.body[-1]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and n_in == n_out
            else nn.Sequential(_convolution(n_in, n_out, 1, stride), nn.BatchNorm2d(n_out))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


@final
class ResNet(nn.Module):
    """A residual network without its classifier: pictures (b, channels, h, w) to features (b, n_features).

    Args:
        blocks: residual blocks of each stage; the paper has four stages.
        bottleneck: blocks of three convolutions, as from 50 layers on.
        width: channels of the first stage; 64 in the paper. Each stage has twice those of the one before.
        channels: of the pictures.
        stem: "small" is a 3 x 3 convolution without pooling, for pictures of some 32 pixels (the CIFAR stem of SimCLR
            and MoCo); "large" the paper's 7 x 7 of stride 2 and a pooling.

    Attributes:
        n_features: channels of the last stage: 8 ``width`` with four, times 4 with bottlenecks.

    Raises:
        ValueError: an unknown stem, a stage without blocks, or no channels.

    >>> ResNet([1, 1, 1, 1], width=8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        bottleneck: bool = False,
        width: int = 64,
        channels: int = 3,
        stem: Stem = "small",
    ) -> None:
        super().__init__()
        if stem not in ("small", "large"):
            raise ValueError(f"stem must be 'small' or 'large', got {stem!r}.")
        if not blocks or min(*blocks, width, channels) < 1:
            raise ValueError(
                f"Every stage must have a block, and the network channels, got {list(blocks)}, width {width} and "
                f"{channels} channels of the pictures."
            )
        small = stem == "small"
        first: list[nn.Module] = [
            _convolution(channels, width, 3 if small else 7, 1 if small else 2),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        self.stem = nn.Sequential(*first, *([] if small else [nn.MaxPool2d(3, stride=2, padding=1)]))
        expansion = 4 if bottleneck else 1
        stages, n_in = [], width
        for stage, depth in enumerate(blocks):
            channels_here = width * 2**stage
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(_Block(n_in, channels_here, stride=stride, bottleneck=bottleneck))
                n_in = channels_here * expansion
        self.stages = nn.Sequential(*stages)
        self.n_features = n_in
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Features, the mean over the last map's places."""
        x = x.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.stages(self.stem(x)).mean((2, 3))
        return features


def _convolution(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)


def resnet18(*, width: int = 64, channels: int = 3, stem: Stem = "small") -> ResNet:
    """ResNet-18.

    >>> sum(weight.numel() for weight in resnet18(stem="large").parameters())  # without the classifier's 513,000
    11176512
    """
    return ResNet([2, 2, 2, 2], width=width, channels=channels, stem=stem)


def resnet34(*, width: int = 64, channels: int = 3, stem: Stem = "small") -> ResNet:
    """ResNet-34.

    >>> resnet34(width=8).n_features
    64
    """
    return ResNet([3, 4, 6, 3], width=width, channels=channels, stem=stem)


def resnet50(*, width: int = 64, channels: int = 3, stem: Stem = "small") -> ResNet:
    """ResNet-50.

    >>> resnet50().n_features
    2048
    """
    return ResNet([3, 4, 6, 3], bottleneck=True, width=width, channels=channels, stem=stem)


def resnet10(*, width: int = 64, channels: int = 3, stem: Stem = "small") -> ResNet:
    """One block a stage instead of ResNet-18's two: what a processor without a GPU can train in minutes.

    >>> resnet10(width=16).n_features
    128
    """
    return ResNet([1, 1, 1, 1], width=width, channels=channels, stem=stem)
