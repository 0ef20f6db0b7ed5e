"""Optimizers take the steps that their papers write, and learning rates follow their schedules."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from torchicon.training.config import TrainConfig
from torchicon.training.optimizers import factor_at, make_optimizer, make_schedule

EXACT = {"rtol": 1e-12, "atol": 1e-14}


def config(optimizer, **given):
    return TrainConfig.of("simclr", data="none", optimizer=optimizer, **given)


def network():
    """With weights of no, one and more dimensions, and one that is not trained."""
    made = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)).double()
    made.register_parameter("scale", nn.Parameter(torch.tensor(0.3, dtype=torch.float64)))
    made.register_parameter("fixed", nn.Parameter(torch.ones(2, 2, dtype=torch.float64), requires_grad=False))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return made


def trained(module):
    return [weight for weight in module.parameters() if weight.requires_grad]


def gradients(module, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in trained(module)]


def test_lars_takes_the_steps_of_its_paper():
    r"""You et al. 2017, algorithm 1; vectors and scalars by plain SGD without decay, as SimCLR does.

    $v \leftarrow m v + \gamma \lambda (g + \beta w)$, $w \leftarrow w - v$ with the local rate
    $\lambda = \eta \|w\| / (\|g\| + \beta \|w\|)$.
    """
    rate, momentum, decay, trust = 0.3, 0.8, 0.02, 0.001
    module = network()
    optimizer = make_optimizer(module, config("lars", lr=rate, momentum=momentum, weight_decay=decay))
    weights = [weight.detach().clone() for weight in trained(module)]
    velocity = [torch.zeros_like(weight) for weight in weights]
    for seed in (1, 2):
        for i, grad in enumerate(gradients(module, seed)):
            trained(module)[i].grad = grad.clone()
            if grad.ndim > 1:
                local = trust * weights[i].norm() / (grad.norm() + decay * weights[i].norm())
                grad = local * (grad + decay * weights[i])
            velocity[i] = momentum * velocity[i] + rate * grad
            weights[i] = weights[i] - velocity[i]
        optimizer.step()
        for weight, expected in zip(trained(module), weights, strict=True):
            torch.testing.assert_close(weight.detach(), expected, **EXACT)


def test_sgd_has_momentum_and_decay():
    module = network()
    optimizer = make_optimizer(module, config("sgd", lr=0.1, momentum=0.5, weight_decay=0.2))
    weights = [weight.detach().clone() for weight in trained(module)]
    velocity = [torch.zeros_like(weight) for weight in weights]
    for seed in (1, 2):
        for i, grad in enumerate(gradients(module, seed)):
            trained(module)[i].grad = grad
            velocity[i] = 0.5 * velocity[i] + grad + 0.2 * weights[i] * (grad.ndim > 1)
            weights[i] = weights[i] - 0.1 * velocity[i]
        optimizer.step()
    for weight, expected in zip(trained(module), weights, strict=True):
        torch.testing.assert_close(weight.detach(), expected, **EXACT)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_matrices_and_kernels_decay(name):
    """Without a gradient they shrink by the learning rate times the decay, and nothing else moves."""
    module = network()
    optimizer = make_optimizer(module, config(name, lr=0.1, weight_decay=0.2))
    before = [weight.detach().clone() for weight in module.parameters()]
    for weight in trained(module):
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    shapes = set()
    for weight, start in zip(module.parameters(), before, strict=True):
        shrinks = weight.ndim > 1 and weight.requires_grad
        shapes.add((weight.ndim, weight.requires_grad))
        torch.testing.assert_close(weight.detach(), start * (0.98 if shrinks else 1), **EXACT)
    assert shapes == {(0, True), (1, True), (2, True), (4, True), (2, False)}


def test_every_trained_weight_is_in_one_group():
    module = network()
    groups = make_optimizer(module, config("adamw")).param_groups
    listed = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(listed) == sorted(map(id, trained(module)))
    assert len(make_optimizer(nn.Linear(2, 2, bias=False), config("sgd")).param_groups) == 1


steps = st.integers(1, 400)
names = st.sampled_from(["cosine", "step", "constant"])


@given(iterations=steps, warmup=st.integers(0, 100), schedule=names)
def test_the_warm_up_rises_by_equal_steps_to_the_highest(iterations, warmup, schedule):
    rising = [factor_at(t, iterations, warmup=warmup, schedule=schedule) for t in range(warmup)]
    for before, after in zip([0.0, *rising], [*rising, 1.0], strict=True):
        assert after - before == pytest.approx(1 / (warmup + 1))
    if warmup < 0.6 * iterations or schedule != "step":
        assert factor_at(warmup, iterations, warmup=warmup, schedule=schedule) == 1


@given(iterations=steps, share=st.floats(0, 0.9))
def test_the_cosine_falls_without_jumps_to_0(iterations, share):
    warmup = int(share * iterations)
    factors = [factor_at(t, iterations, warmup=warmup, schedule="cosine") for t in range(warmup, iterations + 3)]
    after = iterations - warmup
    for before, now in itertools.pairwise(factors):
        assert 0 <= before - now <= math.pi / (2 * after) + 1e-12  # the slope's largest size
    assert factors[after:] == pytest.approx([0, 0, 0], abs=1e-12)
    assert factors[after // 2] == pytest.approx(math.cos(math.pi * (after // 2) / (2 * after)) ** 2)


@given(iterations=steps, warmup=st.integers(0, 100))
def test_steps_fall_to_a_tenth_twice(iterations, warmup):
    for t in range(warmup, iterations):
        falls = (10 * t >= 6 * iterations) + (10 * t >= 8 * iterations)
        if 10 * t not in (6 * iterations, 8 * iterations):  # 0.6 is no binary number
            assert factor_at(t, iterations, warmup=warmup, schedule="step") == pytest.approx(0.1**falls)
        assert factor_at(t, iterations, warmup=warmup, schedule="constant") == 1


def test_the_learning_rate_follows_the_schedule_in_every_step():
    """Five epochs of four steps, the first one and a half with a warm-up."""
    chosen = config("sgd", lr=0.5, epochs=5, warmup_epochs=1.5)
    optimizer = make_optimizer(network(), chosen)
    schedule = make_schedule(optimizer, chosen, 20)
    for t in range(20):
        expected = 0.5 * ((t + 1) / 7 if t < 6 else (1 + math.cos(math.pi * (t - 6) / 14)) / 2)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected] * 2)
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-15)
