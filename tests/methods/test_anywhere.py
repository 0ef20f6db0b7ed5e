"""A row is no captive of its example: it runs where its tensors are, in their type, and on data of another size."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import grad

from torchicon.methods import IDENTITIES, TABLE, find


@pytest.mark.parametrize("method", [*TABLE, *IDENTITIES], ids=str)
def test_nothing_is_made_on_the_default_device(method):
    """As if the problem were on a GPU: whatever is made without a device lands elsewhere, and does not meet it."""
    given = method.example(torch.Generator().manual_seed(0))
    problem = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    learned = {name: problem[name].clone().requires_grad_() for name in method.learns}
    with torch.device("meta"):
        loss = method.loss({**problem, **learned})
        slopes = grad(loss, list(learned.values()), allow_unused=True) if loss.requires_grad else ()
    assert loss.device.type == "cpu"
    assert loss.isfinite()
    assert all(slope is None or (slope.dtype == torch.float32 and slope.isfinite().all()) for slope in slopes)


@pytest.mark.parametrize(
    "name", ["Cross-entropy", "Label smoothing", "Harmonic loss", "Error rate", "Perceptron", "CLIP", "Triplet CLIP"]
)
def test_the_data_may_have_another_size(name, normal):
    problem = {"z": normal(9, 5), "text": normal(9, 5), "log_scale": torch.tensor(0.0)}
    problem |= {"prototypes": normal(10, 5), "bias": normal(10), "label": torch.arange(9)}
    assert find(name).loss(problem).isfinite()
