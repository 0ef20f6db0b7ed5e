"""Independent answers for `methods/crlc.py`."""

from __future__ import annotations

from torchicon.oracles.registry import Oracle

ORACLES: dict[str, Oracle] = {}
