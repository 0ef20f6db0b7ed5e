"""Kernel-InfoNCE: exponential kernels, sums and concatenations (theory 2.6)."""

from __future__ import annotations

from torchicon.methods.method import Method

ROWS: tuple[Method, ...] = ()
