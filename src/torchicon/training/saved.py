"""Encoders on disk: encoder.json says how to build one, encoder.safetensors holds its weights. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from torchicon.data import DataError, write_json
from torchicon.data.samples import Samples
from torchicon.mappers import ClusterHeads
from torchicon.training.encoder import Encoder

_JSON, _WEIGHTS = "encoder.json", "encoder.safetensors"
_HEADS = "clusters"  # key of the recipe, and prefix of the weights


def save_encoder(folder: Path, encoder: Encoder, clusters: ClusterHeads | None = None) -> None:
    """Write an encoder, and with it its cluster heads.

    Raises:
        DataError: the place cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    recipe: dict[str, Any] = {"torchicon": 1, **encoder.recipe}
    if clusters is not None:
        state = clusters.state_dict()
        tensors |= {f"{_HEADS}.{name}": tensor.contiguous() for name, tensor in state.items()}
        recipe[_HEADS] = {"heads": len(clusters.heads), "n_clusters": len(state["heads.0.bias"])}
    temporary = folder / f".{_WEIGHTS}.tmp"
    try:
        save_file(tensors, temporary)
        temporary.replace(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot be written ({error})", folder / _WEIGHTS, "Name a place that has room.") from error
    finally:
        temporary.unlink(missing_ok=True)
    write_json(folder / _JSON, recipe)


def load_encoder(run: str | Path) -> Encoder:
    """The encoder of a run's folder, in evaluation mode: pictures (b, 3, h, w) in [0, 1], or features, to features.

    Raises:
        DataError: there is none, or it is damaged.
    """
    return _load(Path(run))[0]


def load_clusters(run: str | Path) -> tuple[Encoder, ClusterHeads | None]:
    """The encoder and its cluster heads, if the run learned any.

    Raises:
        DataError: as `load_encoder`.
    """
    return _load(Path(run))


def _load(folder: Path) -> tuple[Encoder, ClusterHeads | None]:
    try:
        recipe = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
        heads = recipe.pop(_HEADS, None)
        with torch.random.fork_rng():  # what a network starts with is replaced at once
            encoder = Encoder({name: value for name, value in recipe.items() if name != "torchicon"})
        encoder.load_state_dict({n: t for n, t in tensors.items() if not n.startswith(f"{_HEADS}.")})
        if heads is None:
            return encoder.eval(), None
        clusters = ClusterHeads(encoder.sizes[0], heads["n_clusters"], heads=heads["heads"])
        cut = len(_HEADS) + 1
        clusters.load_state_dict({n[cut:]: t for n, t in tensors.items() if n.startswith(f"{_HEADS}.")})
        return encoder.eval(), clusters.eval()
    except FileNotFoundError as error:
        raise DataError(
            f"has no {Path(error.filename or _WEIGHTS).name}",
            folder,
            "Give the folder of a finished `torchicon train`.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"holds no complete encoder ({reason})", folder, "Train it again, or resume it.") from error


@torch.no_grad()
def features_of(
    network: nn.Module, samples: Samples, *, batch_size: int = 512, device: torch.device | str = "cpu"
) -> NDArray[np.float32]:
    """What a network makes of samples, (n, n_features); it is in evaluation mode meanwhile.

    Raises:
        DataError: a feature is not finite.
    """
    trained = network.training
    network.eval()
    try:
        parts = [network(part.to(device)).float().cpu().numpy() for part in inputs(samples, batch_size)]
    finally:
        network.train(trained)
    features = np.concatenate(parts)
    if not np.isfinite(features).all():
        row = int((~np.isfinite(features)).any(1).argmax())
        raise DataError(
            f"the features of sample {samples.names[row]} are not finite",
            "encoder",
            "If it was trained just now, lower lr or give clip=1.",
        )
    return features


def inputs(samples: Samples, batch_size: int) -> Iterator[Tensor]:
    """Samples as an encoder takes them, a batch at a time: pictures in [0, 1], or features."""
    rows = samples.pixels if samples.pixels is not None else samples.features
    assert rows is not None
    for start in range(0, len(rows), batch_size):
        part = torch.from_numpy(np.ascontiguousarray(rows[start : start + batch_size]))
        yield part.float() / 255 if part.dtype == torch.uint8 else part
