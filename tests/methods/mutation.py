"""Planted errors: a claim must not survive them."""

from __future__ import annotations

import dataclasses

from torchicon.methods import find
from torchicon.methods.verify import check


def survives(name: str, change: dict[str, object]) -> bool:
    """Whether the claim of a method still passes when the row is changed."""
    try:
        return check(dataclasses.replace(find(name), **change)).passed
    except ValueError:  # the core refused it outright, such as mass of p where q has none
        return False
