"""Encoders: what turns a sample into features, with all that is needed to build it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor, nn

from torchicon.data import DataError, write_json
from torchicon.data.views import lab
from torchicon.data.write import atomic
from torchicon.mappers import ClusterHeads
from torchicon.training.networks import network_of, of_features

_JSON, _WEIGHTS = "encoder.json", "encoder.safetensors"


@final
class Encoder(nn.Module):
    """Samples to features. Pictures come with values in [0, 1] and are normalized here, so that a loaded encoder needs
    nothing else.

    Args:
        recipe: "mapper", "width", "image_size", "split", "n_in" and "clusters", all plain values: what an encoder is
            built from. With "split" = "lab" a picture is lightness and colors, each with a network of its own (CMC),
            and its features are those of both. "clusters" are the heads and n_clusters of cluster heads, if any.

    Attributes:
        sizes: features of each part.
        n_features: of all parts together.
        clusters: cluster heads on the first part, or None.
        mean, std: of the pictures' channels, or of each feature; 0 and 1 until they are set.

    >>> encoder = Encoder({"mapper": "resnet10", "width": 8, "image_size": 32, "split": "lab"})
    >>> encoder.sizes, encoder(torch.rand(2, 3, 32, 32)).shape
    ([64, 64], torch.Size([2, 128]))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        self.recipe = dict(recipe)
        channels = (1, 2) if recipe.get("split") == "lab" else (3,)
        self.networks = nn.ModuleList(network_of(recipe, count) for count in channels)
        shape = (recipe["n_in"],) if of_features(recipe["mapper"]) else (sum(channels), 1, 1)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.sizes = [int(network.n_features) for network in self.networks]  # type: ignore[arg-type]
        heads = recipe.get("clusters")
        self.clusters = (
            None if heads is None else ClusterHeads(self.sizes[0], heads["n_clusters"], heads=heads["heads"])
        )

    @property
    def n_features(self) -> int:
        """Of all parts together."""
        return sum(self.sizes)

    def split(self, samples: Tensor) -> Tensor:
        """What the networks see, before it is normalized: pictures as they are, or in CIELAB."""
        if len(self.networks) == 1:
            return samples
        with torch.autocast(samples.device.type, enabled=False):
            return torch.cat(lab(samples), 1)

    def parts(self, samples: Tensor) -> list[Tensor]:
        """Features of each part, (b, sizes[part])."""
        normal = (self.split(samples) - self.mean) / self.std
        if len(self.networks) == 1:
            return [self.networks[0](normal)]
        return [network(part) for network, part in zip(self.networks, (normal[:, :1], normal[:, 1:]), strict=True)]

    def forward(self, samples: Tensor) -> Tensor:
        """Features (b, n_features) of pictures (b, 3, h, w) in [0, 1], or of features (b, n_in)."""
        return torch.cat(self.parts(samples), 1)

    def probabilities(self, samples: Tensor) -> Tensor:
        """Cluster probabilities (b, n_clusters) of the first cluster head.

        Raises:
            ValueError: the method learned no clusters.
        """
        if self.clusters is None:
            raise ValueError("This encoder was trained by a method without clusters.")
        logits: Tensor = self.clusters(self.parts(samples)[0])[0]
        return logits.softmax(1)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write encoder.json and encoder.safetensors into a folder, each whole or not at all.

        Raises:
            DataError: the place cannot be written.
        """
        place = Path(folder)
        # cloned: the file takes no weights that share their memory
        tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in self.state_dict().items()}
        with atomic(place / _WEIGHTS) as temporary:
            temporary.write_bytes(serialized(tensors))  # its own save_file lets nobody else read
        write_json(place / _JSON, {"torchicon": 1, **self.recipe})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The encoder of a run's folder, in evaluation mode. Nothing is unpickled.

        Raises:
            DataError: there is none, or it is damaged.
        """
        place = Path(folder)
        try:
            recipe = json.loads((place / _JSON).read_text(encoding="utf-8"))
            tensors = load_file(place / _WEIGHTS)
            with torch.random.fork_rng(devices=[]):  # what a network starts with is replaced at once
                encoder = cls({name: value for name, value in recipe.items() if name != "torchicon"})
            encoder.load_state_dict(tensors)
        except FileNotFoundError as error:
            raise DataError(
                f"has no {Path(error.filename or _WEIGHTS).name}",
                folder,
                "Give the folder of a finished `torchicon train`.",
            ) from error
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"holds no complete encoder ({reason})", folder, "Train it again, or resume it.") from error
        return encoder.eval()
