"""Python values as tensors, sizes and a skeleton, so that an operator, which takes no others, can be given any."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from torchicon.core.rows import Rows


@dataclass
class Leaves:
    """What an operator can be given; a skeleton refers to it by place."""

    tensors: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def take_apart(value: Any, leaves: Leaves) -> Any:
    """The skeleton of a value, whose leaves are added to ``leaves``.

    Nested pairs of what a part is and its place among the leaves, its parts, or, for what never changes, itself.
    """
    if isinstance(value, Tensor):
        for place, seen in enumerate(leaves.tensors):
            if seen is value:  # a kernel is symmetric when its keys are the very tensor of its anchors
                return Tensor, place
        leaves.tensors.append(value)
        return Tensor, len(leaves.tensors) - 1
    if value is None or isinstance(value, bool | str | type | FunctionType | torch.dtype | torch.device):
        return None, value
    if isinstance(value, int):
        leaves.sizes.append(value)
        return int, len(leaves.sizes) - 1
    if isinstance(value, float):  # as a tensor: a constant that is annealed would compile anew at every step
        leaves.tensors.append(torch.zeros((), dtype=torch.float64, device="cpu") + value)
        return float, len(leaves.tensors) - 1
    if isinstance(value, tuple | list):
        return type(value), tuple(take_apart(part, leaves) for part in value)
    parts = value if isinstance(value, dict) else vars(value)
    return type(value), tuple((name, take_apart(part, leaves)) for name, part in parts.items())


def put_together(skeleton: Any, leaves: Leaves) -> Any:
    """The value again, of these leaves; neighborhoods are settled."""
    kind, rest = skeleton
    if kind is None:
        return rest
    if kind is Tensor:
        return leaves.tensors[rest]
    if kind is int:
        return leaves.sizes[rest]
    if kind is float:
        return float(leaves.tensors[rest])
    if kind in (tuple, list):
        return kind(put_together(part, leaves) for part in rest)
    parts = {name: put_together(part, leaves) for name, part in rest}
    if kind is dict:
        return parts
    value = object.__new__(kind)
    vars(value).update(parts)
    return value.settle() if isinstance(value, Rows) else value
