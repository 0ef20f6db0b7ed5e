"""Numerics every structure shares: the byte budget, recomputed blocks, and logarithms that know about zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_BLOCK_BYTES: ContextVar[int] = ContextVar("block_bytes", default=64 * 2**20)


def block_bytes() -> int:
    """Bytes that one block of intermediate values may take (64 MiB unless `block_budget` says otherwise)."""
    return _BLOCK_BYTES.get()


@contextmanager
def block_budget(size: int) -> Iterator[None]:
    """Set the bytes that one block of intermediate values may take.

    >>> with block_budget(2**20):
    ...     block_bytes()
    1048576
    """
    if size < 1:
        raise ValueError(f"A block must hold at least one byte, got {size}.")
    token = _BLOCK_BYTES.set(size)
    try:
        yield
    finally:
        _BLOCK_BYTES.reset(token)


def row_blocks(n: int, bytes_per_row: int) -> list[slice]:
    """Cut n rows into slices whose intermediates fit the budget; every slice has at least one row."""
    rows = max(1, block_bytes() // max(1, bytes_per_row))
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def map_row_blocks(function: Callable[[slice], Tensor], n: int, bytes_per_row: int) -> Tensor:
    """Concatenate ``function(rows)`` over blocks of rows; several blocks are recomputed in backward, not stored."""
    blocks = row_blocks(n, bytes_per_row)
    if len(blocks) <= 1:
        return function(slice(0, n))
    if not torch.is_grad_enabled():
        return torch.cat([function(rows) for rows in blocks])
    return torch.cat([checkpoint(function, rows, use_reentrant=False, preserve_rng_state=False) for rows in blocks])


def at_least_float32(x: Tensor) -> Tensor:
    """Integers and half precision become float32: sums of exponentials need the mantissa."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def readable(x: Tensor) -> bool:
    """Whether a look at the values is free: a GPU would have to wait for it, and ``torch.compile`` cannot trace it."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def safe_log(x: Tensor) -> Tensor:
    """Natural logarithm, -inf at zero, where the gradient is zero instead of NaN. A NaN stays one."""
    zero = x == 0
    return torch.where(zero, -math.inf, torch.where(zero, 1.0, x).log())


def safe_exp_times(log_p: Tensor, x: Tensor) -> Tensor:
    """The product p x with 0 times anything being 0, also in the gradient. A NaN in p stays one."""
    mass = log_p != -math.inf
    return torch.where(mass, log_p, 0.0).exp() * torch.where(mass, x, 0.0) * mass


def log_normalize(log_weight: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """Log-probabilities of each row; a row without any weight stays -inf everywhere."""
    empty = (log_weight == -math.inf).all(-1, keepdim=True)
    return torch.where(empty, -math.inf, torch.where(empty, 0.0, log_weight).log_softmax(-1))


def segment_logsumexp(values: Float[Tensor, " e"], segment: Int[Tensor, " e"], n: int) -> Float[Tensor, " n"]:
    """Log-sum-exp of the values of each of n segments; -inf for a segment without values."""
    peak = values.new_full((n,), -math.inf).scatter_reduce(0, segment, values.detach(), "amax")
    shift = torch.where(peak > -math.inf, peak, 0.0)
    total = values.new_zeros(n).index_add(0, segment, (values - shift[segment]).exp())
    return safe_log(total) + shift
