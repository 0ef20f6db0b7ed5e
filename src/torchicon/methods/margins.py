"""Wide and narrow kernels over positives: VI-Reg, average margins, triplets (theory 3.1, 3.3)."""

from __future__ import annotations

from torchicon.methods.method import Method

ROWS: tuple[Method, ...] = ()
