"""Run every method's claim against its oracle. Apart from the table, since the oracles need scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torchicon import oracles
from torchicon.methods.claims import Evidence
from torchicon.methods.method import Method
from torchicon.methods.table import IDENTITIES, TABLE


def verify(methods: Sequence[Method] = (*TABLE, *IDENTITIES), *, seed: int = 0) -> dict[str, Evidence]:
    """Check each method's claim in float64 on its own seeded example; evidence by name.

    >>> from torchicon.methods import find
    >>> verify([find("SimCLR")])["SimCLR"].passed
    True
    """
    return {method.name: check(method, seed=seed) for method in methods}


def check(method: Method, *, seed: int = 0) -> Evidence:
    """The evidence for one method's claim; one that cannot be checked has failed, and says why."""
    try:
        oracle = oracles.ORACLES[method.oracle] if isinstance(method.oracle, str) else method.oracle
        return method.claim.check(method, oracle, method.example(torch.Generator().manual_seed(seed)))
    except Exception as error:
        return Evidence(None, None, None, passed=False, failure=f"{type(error).__name__}: {error}")
