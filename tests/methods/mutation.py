"""Planted errors: a claim must not survive them."""

from __future__ import annotations

import dataclasses

from torchicon.methods import Method, find
from torchicon.methods.verify import check


def survives(row: str | Method, change: dict[str, object]) -> bool:
    """Whether the claim of a method still passes when the row is changed."""
    mutant = dataclasses.replace(
        find(row) if isinstance(row, str) else row, **change
    )  # a row that is refused as such would prove nothing
    evidence = check(mutant)
    # the core may refuse it outright, such as mass of p where q has none; any other exception would prove nothing
    assert evidence.failure is None or evidence.failure.startswith(("SupportError", "CandidatesError", "ValueError"))
    return evidence.passed
