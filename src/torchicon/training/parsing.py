"""Values of a config, from what a command line or a file says."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torchicon.data.errors import DataError


def assignments(pairs: Sequence[str]) -> dict[str, str]:
    """``--set`` of the command line: key=value, each once.

    Raises:
        DataError: no equals sign, or a key given twice.

    >>> assignments(["lr=0.1", "views=none"])
    {'lr': '0.1', 'views': 'none'}
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise DataError(f"{pair!r} sets nothing", "--set", "Write key=value.")
        if key in found:
            raise DataError(f"{key!r} is set twice", "--set", "Give it once.")
        found[key] = value
    return found


def typed(name: str, value: Any, kind: Any) -> Any:
    """A value, perhaps the command line's text for it, in the type that a field is annotated with.

    Raises:
        DataError: it has none of that type.

    >>> typed("lr", "0.1", float), typed("limit", "none", int | None)
    (0.1, None)
    """
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and value in (None, "none", "null", ""):
        return None
    for option in options:
        if (made := _as(value, option)) is not None:
            return made
    wanted = " or ".join(_named(option) for option in options if option is not type(None))
    raise DataError(f"{name} must be {wanted}, got {value!r}", "config", "Give another value.")


def _as(value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        return str(value) if str(value) in typing.get_args(kind) else None
    if typing.get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(parts) if isinstance(parts, Sequence) and all(isinstance(part, str) for part in parts) else None
    if typing.get_origin(kind) is dict or kind is dict:
        return dict(value) if isinstance(value, Mapping) else None
    if kind is bool:
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool):
        return None
    if kind is str:
        return str(value) if isinstance(value, str | Path | int) else None
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if kind is int and isinstance(value, float) and number != value:
        return None
    return number if abs(number) < float("inf") else None


def _named(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "names, separated by commas")
