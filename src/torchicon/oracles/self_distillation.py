"""Independent answers for `methods/self_distillation.py`."""

from __future__ import annotations

from torchicon.oracles.registry import Oracle

ORACLES: dict[str, Oracle] = {}
