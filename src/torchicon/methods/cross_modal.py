"""Two modalities: CLIP, CMC, LaCLIP and t-CLIP (theory 2.2)."""

from __future__ import annotations

from torchicon.methods.method import Method

ROWS: tuple[Method, ...] = ()
