"""The mutual-information family: IR, LA, BALL, ANN, CMC and VINCE (theory 2.5)."""

from __future__ import annotations

from torchicon.methods.method import Method

ROWS: tuple[Method, ...] = ()
