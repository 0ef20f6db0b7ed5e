"""The operator ``torchicon::evaluate``: a call of an ordinary function that a compiler does not look into."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import torch
from torch import Tensor

from torchicon.core.skeleton import Leaves, put_together, take_apart

_CALLS: list[Any] = []


def evaluate(
    function: Callable[..., Tensor], args: Any, kwargs: Any, shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Write ``function(*args, **kwargs)`` into the graph that is traced, as one operator with a gradient.

    Args:
        function: what to call. It may look at data, and raise, when the graph runs.
        args: tensors, numbers, strings, and objects with such attributes.
        kwargs: more of them, by name.
        shape: of the result.
        dtype: of the result.
    """
    leaves = Leaves()
    call = _place_of(take_apart((function, args, kwargs), leaves)), leaves.sizes, shape, dtype
    learned = [torch.is_grad_enabled() and tensor.requires_grad for tensor in leaves.tensors]
    if any(learned):
        result: Tensor = _Evaluate.apply(learned, call, *leaves.tensors)  # type: ignore[no-untyped-call]
    else:
        (result,) = torch.ops.torchicon.evaluate(leaves.tensors, learned, None, *call)
    return result


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _place_of(call: Any) -> int:
    """The number by which a graph knows a skeleton. Runs while the graph is traced."""
    if call not in _CALLS:
        _CALLS.append(call)
    return _CALLS.index(call)


class _Evaluate(torch.autograd.Function):
    """The gradient of one number is found together with it; that of several takes a second pass."""

    @staticmethod
    def forward(ctx: Any, learned: list[bool], call: Any, *tensors: Tensor) -> Tensor:
        _, _, shape, _ = call
        ctx.learned, ctx.call, ctx.one_number = learned, call, len(shape) == 0
        now = learned if ctx.one_number else [False] * len(learned)
        result: Tensor
        result, *gradients = torch.ops.torchicon.evaluate(tensors, now, None, *call)
        ctx.save_for_backward(*(gradients if ctx.one_number else tensors))
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.one_number:
            gradients = [grad * gradient for gradient in ctx.saved_tensors]
        else:
            _, *gradients = torch.ops.torchicon.evaluate(ctx.saved_tensors, ctx.learned, grad, *ctx.call)
        each = iter(gradients)
        return None, None, *(next(each) if of_this else None for of_this in ctx.learned)


def _run(
    tensors: list[Tensor],
    learned: list[bool],
    cotangent: Tensor | None,
    call: int,
    sizes: list[int],
    shape: list[int],
    dtype: torch.dtype,
) -> list[Tensor]:
    """The result and the gradients of the learned tensors; the cotangent of one number is 1 when omitted."""
    inputs = [tensor.detach().requires_grad_(of_this) for tensor, of_this in zip(tensors, learned, strict=True)]

    def run() -> list[Tensor]:
        function, args, kwargs = put_together(_CALLS[call], Leaves(inputs, sizes))
        result = function(*args, **kwargs).to(dtype)
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        if not result.requires_grad:
            return [result, *(torch.zeros_like(tensor) for tensor in wanted)]
        found = torch.autograd.grad(result, wanted, cotangent, allow_unused=True, materialize_grads=True)
        return [tensor.detach().contiguous() for tensor in (result, *found)]

    return _undisturbed(run, _device_of(tensors), recording=any(learned))


def _shapes(
    tensors: list[Tensor],
    learned: list[bool],
    cotangent: Tensor | None,
    call: int,
    sizes: list[int],
    shape: list[int],
    dtype: torch.dtype,
) -> list[Tensor]:
    result = torch.empty(shape, dtype=dtype, device=_device_of(tensors))
    wanted = [tensor for tensor, of_this in zip(tensors, learned, strict=True) if of_this]
    return [result, *(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in wanted)]


def _device_of(tensors: list[Tensor]) -> torch.device:
    return next(tensor.device for tensor in tensors if tensor.ndim)  # a temperature may be a number on the host


def _undisturbed(function: Callable[[], list[Tensor]], device: torch.device, *, recording: bool) -> list[Tensor]:
    """Call a function outside autocast, where nothing should be differentiated, and where it can be.

    Below a dispatch mode, such as the compiler's own check of a first call, this thread records no gradients.
    """
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def call() -> list[Tensor]:
        with torch.set_grad_enabled(recording), torch.autocast(device.type, enabled=False), torch.cuda.stream(stream):
            return function()

    with torch.enable_grad():
        records = torch.ones((), requires_grad=True).neg().requires_grad
    if records or torch.is_inference_mode_enabled():
        return call()
    with ThreadPoolExecutor(1) as another:
        return another.submit(copy_context().run, call).result()


torch.library.define(
    "torchicon::evaluate",
    "(Tensor[] tensors, bool[] learned, Tensor? cotangent, int call, SymInt[] sizes, SymInt[] shape, ScalarType dtype)"
    " -> Tensor[]",
    # It reads numbers on the host, which no recorded CUDA graph can; older releases of torch have no word for that.
    tags=[torch.Tag.cudagraph_unsafe] if hasattr(torch.Tag, "cudagraph_unsafe") else [],
)
_untraced = torch.compiler.disable(_run)  # type: ignore[no-untyped-call]
torch.library.impl("torchicon::evaluate", "CompositeExplicitAutograd", _untraced)
torch.library.register_fake("torchicon::evaluate", _shapes)
