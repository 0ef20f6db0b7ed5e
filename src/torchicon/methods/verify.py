"""Run every method's claim against its oracle. Apart from the table, since the oracles need scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torchicon import oracles
from torchicon.methods.claims import Answer, Evidence, Problem
from torchicon.methods.method import Method
from torchicon.methods.table import TABLE


def verify(methods: Sequence[Method] = TABLE, *, seed: int = 0) -> dict[str, Evidence]:
    """Check each method's claim in float64 on its own seeded example; evidence by name.

    >>> all(evidence.passed for evidence in verify().values())
    True
    """
    return {method.name: check(method, seed=seed) for method in methods}


def check(method: Method, *, seed: int = 0) -> Evidence:
    """The evidence for one method's claim."""
    answer = oracles.ORACLES[method.oracle]

    def oracle(problem: Problem) -> Answer:
        return Answer(*answer(problem))

    problem = method.example(torch.Generator().manual_seed(seed))
    return method.claim.check(method.loss, oracle, problem, method.learns)
