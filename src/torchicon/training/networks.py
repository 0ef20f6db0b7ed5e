"""The networks that an encoder is made of, by name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchicon.data.errors import DataError, suggest
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


def network_of(recipe: Mapping[str, Any], channels: int) -> nn.Module:
    """The network that a recipe names ("mapper"), with the number of its features as ``n_features``.

    Args:
        recipe: see `torchicon.training.Encoder`.
        channels: of the pictures.

    Raises:
        DataError: there is no such network, or it does not take such pictures.
    """
    name, size = recipe["mapper"], recipe.get("image_size")
    if name in _RESNETS:
        stem = "small" if size is not None and size <= _SMALL else "large"
        return _RESNETS[name](width=recipe["width"], channels=channels, stem=stem)
    if name in _OF_FEATURES:
        return _of_features(name, recipe["n_in"], recipe["width"])
    if channels != 3:
        raise DataError(f"{name} takes pictures with three channels", "mapper", f"Give one of {', '.join(_RESNETS)}.")
    if ":" in name:
        return _imported(name, size or 32)
    if is_pretrained(name):
        return TransformersBackbone(name, image_size=size)
    raise DataError(
        f"there is no mapper {name!r}",
        "mapper",
        suggest(name, [*_RESNETS, *_OF_FEATURES])
        + " Or give the id or folder of a transformers model, or MODULE:NAME.",
    )


def is_pretrained(mapper: str) -> bool:
    """Whether a mapper is a transformers model, by id or folder."""
    return ":" not in mapper and ("/" in mapper or Path(mapper).is_dir())


def is_ours(mapper: str) -> bool:
    """Whether a mapper is one of this library's networks."""
    return mapper in _RESNETS or mapper in _OF_FEATURES


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


def _imported(place: str, size: int) -> nn.Module:
    """The module that MODULE:NAME makes, or is."""
    module, _, name = place.partition(":")
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())  # a command line is not run from the folder it is installed in
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(
            f"cannot be imported ({error})", place, "Write MODULE:NAME of something on the path."
        ) from error
    finally:
        sys.path[:] = before
    try:
        network = made() if inspect.isclass(made) or not isinstance(made, nn.Module) else made
    except TypeError as error:
        raise DataError(f"cannot be called without arguments ({error})", place, "Name one that can.") from error
    if not isinstance(network, nn.Module):
        raise DataError(f"is no nn.Module but a {type(network).__name__}", place, "Name a class or a function.")
    if not hasattr(network, "n_features"):
        try:
            with torch.no_grad():
                features = network.eval()(torch.zeros(1, 3, size, size))
        except RuntimeError as error:
            raise DataError(
                f"does not take pictures (1, 3, {size}, {size}): {error}",
                place,
                "Set image_size, or the network right.",
            ) from error
        network = _Features(network, int(features.shape[1]))
    return network
