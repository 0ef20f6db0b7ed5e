"""Encoders: what turns a sample into features, with all that is needed to build it again."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from torchicon.data.errors import DataError, suggest
from torchicon.data.views import lab
from torchicon.mappers import linear, mlp, resnet10, resnet18, resnet34, resnet50
from torchicon.mappers.backbone import TransformersBackbone

_RESNETS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet10": resnet10,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
}
_OF_FEATURES = ("mlp", "linear", "identity")
_SMALL = 64  # pixels up to which a residual network has the small stem


@final
class Encoder(nn.Module):
    """Samples to features. Pictures come with values in [0, 1] and are normalized here, so that a loaded encoder needs
    nothing else.

    Args:
        recipe: "mapper", "width", "image_size", "split" and "n_in", all plain values: what `Encoder` is built from.
            With "split" = "lab" a picture is lightness and colors, each with a network of its own (CMC), and its
            features are those of both.
        mean, std: (channels,) of the pictures, or (n_in,) of features; 0 and 1 when omitted.

    Attributes:
        sizes: features of each part.
        n_features: of all parts together.

    >>> encoder = Encoder({"mapper": "resnet10", "width": 8, "image_size": 32, "split": "lab"})
    >>> encoder.sizes, encoder(torch.rand(2, 3, 32, 32)).shape
    ([64, 64], torch.Size([2, 128]))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Mapping[str, Any], *, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.recipe = dict(recipe)
        channels = (1, 2) if recipe.get("split") == "lab" else (3,)
        self.networks = nn.ModuleList(_network(recipe, count) for count in channels)
        shape = (recipe["n_in"],) if of_features(recipe["mapper"]) else (sum(channels), 1, 1)
        self.register_buffer("mean", torch.zeros(shape) if mean is None else mean.reshape(shape))
        self.register_buffer("std", torch.ones(shape) if std is None else std.reshape(shape))
        self.sizes = [int(network.n_features) for network in self.networks]  # type: ignore[arg-type]

    @property
    def n_features(self) -> int:
        """Of all parts together."""
        return sum(self.sizes)

    def split(self, samples: Tensor) -> Tensor:
        """What the networks see, before it is normalized: pictures as they are, or in CIELAB."""
        return torch.cat(lab(samples), 1) if len(self.networks) == 2 else samples

    def parts(self, samples: Tensor) -> list[Tensor]:
        """Features of each part, (b, sizes[part])."""
        normal = (self.split(samples) - self.mean) / self.std
        if len(self.networks) == 1:
            return [self.networks[0](normal)]
        return [network(part) for network, part in zip(self.networks, (normal[:, :1], normal[:, 1:]), strict=True)]

    def forward(self, samples: Tensor) -> Tensor:
        """Features (b, n_features) of pictures (b, 3, h, w) in [0, 1], or of features (b, n_in)."""
        return torch.cat(self.parts(samples), 1)


def _network(recipe: Mapping[str, Any], channels: int) -> nn.Module:
    name, size = recipe["mapper"], recipe.get("image_size")
    if name in _RESNETS:
        stem = "small" if size is not None and size <= _SMALL else "large"
        return _RESNETS[name](width=recipe["width"], channels=channels, stem=stem)
    if name in _OF_FEATURES:
        return _of_features(name, recipe["n_in"], recipe["width"])
    if channels != 3:
        raise DataError(f"{name} takes pictures with three channels", "mapper", f"Give one of {', '.join(_RESNETS)}.")
    if ":" in name:
        return _imported(name)
    if "/" in name or "." in name:
        return TransformersBackbone(name, image_size=size)
    raise DataError(
        f"there is no mapper {name!r}",
        "mapper",
        suggest(name, [*_RESNETS, *_OF_FEATURES])
        + " Or give the id or folder of a transformers model, or MODULE:NAME.",
    )


def of_features(mapper: str) -> bool:
    """Whether a mapper takes features, not pictures."""
    return mapper in _OF_FEATURES


class _Features(nn.Module):
    """A network with the number of its features."""

    def __init__(self, network: nn.Module, n_features: int) -> None:
        super().__init__()
        self.network = network
        self.n_features = n_features

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features


def _of_features(name: str, n_in: int, width: int) -> nn.Module:
    if name == "identity":
        return _Features(nn.Identity(), n_in)
    if name == "linear":
        return _Features(linear(n_in, width), width)
    return _Features(nn.Sequential(mlp(n_in, width, hidden=(width,)), nn.ReLU(inplace=True)), width)


def _imported(place: str) -> nn.Module:
    """The module that MODULE:NAME makes, or is."""
    module, _, name = place.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"cannot be imported ({error})", place, "Write MODULE:NAME of something on the path."
        ) from error
    network = made() if inspect.isclass(made) or not isinstance(made, nn.Module) else made
    if not isinstance(network, nn.Module):
        raise DataError(f"is no nn.Module but a {type(network).__name__}", place, "Name a class or a function.")
    if not hasattr(network, "n_features"):
        with torch.no_grad():
            network.eval()
            network = _Features(network, int(network(torch.zeros(1, 3, 32, 32)).shape[1]))
    return network
