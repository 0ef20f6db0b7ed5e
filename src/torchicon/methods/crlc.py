"""CRLC: clustering by mutual information across views (theory 2.4)."""

from __future__ import annotations

from torchicon.methods.method import Method

ROWS: tuple[Method, ...] = ()
