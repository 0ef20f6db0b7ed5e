"""One method, two faces: identities that the theory proves (theory 2.6, 3, 4)."""

from __future__ import annotations

from torchicon.methods.method import Method

ROWS: tuple[Method, ...] = ()
