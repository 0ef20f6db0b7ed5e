"""A descent on disk, so that a map of hours outlives a crash: the state of the last look, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sps
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from torchicon.estimators._persistence import write_whole
from torchicon.estimators.embedding.descent import Descent, State
from torchicon.estimators.embedding.kernel import MapKernel

__all__ = ["Checkpoint"]

_TENSORS = ("y", "velocity", "gains", "kept")


class Checkpoint:
    """A file that holds the state of one descent, and knows which.

    Args:
        path: the file; made when the first state is written.
        p: weights of the descent.
        start: its first positions.
        kernel: its kernel.
        what: the rest that makes it this descent, such as its normalization.
        descent: its schedule.
    """

    def __init__(
        self, path: str | Path, p: sps.csr_array, start: Tensor, kernel: MapKernel, what: str, descent: Descent
    ) -> None:
        self.path = Path(path)
        digest = hashlib.sha256(f"{what} {descent} {kernel.unit}".encode())
        at = kernel.log_value(torch.linspace(0, 9, 10, dtype=torch.float64))
        for array in (p.indptr, p.indices, p.data, start.cpu().numpy(), at.numpy()):
            digest.update(np.ascontiguousarray(array).tobytes())
        self._identity = digest.hexdigest()

    def read(self) -> State | None:
        """The state to go on from; None where there is no file.

        Raises:
            ValueError: the file cannot be read, or belongs to another descent.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"The checkpoint {self.path} cannot be read ({error}): delete it to start anew."
            ) from error
        if about.get("descent") != self._identity or set(tensors) != set(_TENSORS):
            raise ValueError(
                f"The checkpoint {self.path} is of another map: other data, p, start, kernel or schedule. Give this "
                "one a file of its own, or delete that one."
            )
        rest = json.loads(about["state"])
        history = tuple((int(iteration), float(kl)) for iteration, kl in rest.pop("history"))
        return State(history=history, **rest, **tensors)

    def write(self, state: State) -> None:
        """Put the state in place of the one before, whole or not at all."""
        rest = {name: getattr(state, name) for name in ("iteration", "limit", "caution", "history")}
        tensors = {name: getattr(state, name).contiguous().clone() for name in _TENSORS}
        write_whole(self.path, serialize(tensors, {"descent": self._identity, "state": json.dumps(rest)}))
