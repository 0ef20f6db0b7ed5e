"""Features of samples, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchicon.data import DataError
from torchicon.data.samples import Samples


@torch.no_grad()
def features_of(
    network: nn.Module, samples: Samples, *, batch_size: int = 512, device: torch.device | str = "cpu"
) -> NDArray[np.float32]:
    """What a network makes of samples, (n, n_features); it is in evaluation mode meanwhile.

    Raises:
        DataError: samples of a kind that the network does not take, or a feature that is not finite.
    """
    _require_kind(network, samples)
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


def _require_kind(network: nn.Module, samples: Samples) -> None:
    """Pictures for a network of pictures, and as many features as the other learned from."""
    mean = getattr(network, "mean", None)
    if mean is None:
        return
    wanted = "pictures" if mean.ndim == 3 else f"{len(mean)} features"
    held = "pictures" if samples.pixels is not None else f"{samples.rows.shape[1]} features"
    if wanted != held:
        raise DataError(f"holds {held}, and the encoder takes {wanted}", samples.source, "Give what it was trained on.")


def inputs(samples: Samples, batch_size: int) -> Iterator[Tensor]:
    """Samples as an encoder takes them, a batch at a time: pictures in [0, 1], or features."""
    for start in range(0, len(samples), batch_size):
        yield as_input(torch.from_numpy(np.ascontiguousarray(samples.rows[start : start + batch_size])))


def as_input(rows: Tensor) -> Tensor:
    """Rows of samples as float32: the bytes of pictures become values in [0, 1], features stay as they are."""
    return rows.float() / 255 if rows.dtype == torch.uint8 else rows.float()
