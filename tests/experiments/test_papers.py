"""The papers' small experiments run as written, hold the laws they rest on, and their records are of their defaults."""

import importlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

# Small enough for a test; every experiment once through its own command line.
TINY = {
    "debias_saturation": "--alphas 0 0.6 --steps 40 --batch-size 128 --hidden 8 --learning-rate 0.03 --seeds 0",
    "view_collisions": "--noises 0 0.5 --n-points 80 --draws 20 --permutations 5 --steps 10 --seeds 0",
    "kernel_infonce_graphs": "--cluster-size 12 --n-clusters 3 --n-components 3 --steps 30 --seeds 0",
    "gaussian_mi": "--percents 100 25 --n-points 99 --negatives 9 --epochs 1 --test-points 600 --test-pool 50"
    " --seeds 0",
    "two_spirals": "--noises 0 0.4 5 --n-points 300 --width 8 --negatives 64 --batch-size 64 --steps 20 --seeds 0",
}


@pytest.fixture
def load(monkeypatch):
    """An experiment's module, found as it is when its file is run."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module


@pytest.fixture
def numbers(load, tmp_path):
    """What an experiment measures with its tiny config; the record and the figure are checked on the way."""

    def measured(name):
        module, state = load(name), torch.get_rng_state()
        arguments = [*TINY[name].split(), "--output", str(tmp_path)]
        load("recording").run(module.Config, module.measure, module.draw, arguments)
        assert torch.equal(torch.get_rng_state(), state)  # every draw has a generator of its own
        record = json.loads((tmp_path / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert record["config"]["seeds"] == [0]
        assert set(record) >= {"date", "machine", "versions", "seconds"}
        assert 0 < (tmp_path / "figures" / f"{name}.png").stat().st_size < 150_000
        return record["numbers"]

    return measured


@pytest.mark.parametrize("name", TINY)
def test_the_record_is_of_the_defaults(load, name):
    """What is recorded is what the bare command reruns."""
    record = json.loads((EXPERIMENTS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert record["config"] == json.loads(json.dumps(asdict(load(name).Config())))
    assert (EXPERIMENTS / "figures" / f"{name}.png").stat().st_size < 150_000


def test_debiasing_p_leaves_fewer_points_saturated(numbers):
    """A p that reaches everywhere forbids hard clusters, whose q would not (theory 5)."""
    found = numbers("debias_saturation")
    plain, debiased = (scores["saturated"]["mean"] for scores in found["p"])
    assert debiased < plain
    assert found["q"][0] == found["p"][0] == found["both"][0]  # no share of the uniform, no difference


def test_only_colliding_views_tell_a_permutation(numbers):
    """Wu et al., theorem 2.1: without collisions a permutation leaves the loss as it was."""
    without, with_ = numbers("view_collisions")["at noise"]
    assert without["collisions"]["high"] < 1e-12
    assert without["permuted spread"]["high"] < 1e-12
    assert with_["collisions"]["low"] > 0.1
    assert with_["permuted spread"]["low"] > 1e-3
    assert with_["loss"]["mean"] < with_["permuted mean"]["mean"]


def test_a_graph_of_cliques_has_its_clusters_as_spectral_embedding(numbers, load):
    """Then both subspaces are one, so that the angles to them are equal; the constant is in every subspace."""
    cliques, mixed = numbers("kernel_infonce_graphs")["graphs"]
    for found in cliques["kernels"].values():
        assert found["largest angle"]["mean"] == pytest.approx(found["largest angle to clusters"]["mean"], abs=1e-3)
    for found in [*cliques["kernels"].values(), *mixed["kernels"].values()]:
        assert found["angles"] == sorted(found["angles"])
        assert found["angles"][0] == pytest.approx(0, abs=1e-3)
        assert found["angles"][-1] <= 90
    graphs = load("kernel_infonce_graphs")
    one_hot = torch.eye(3).repeat_interleave(5, dim=0)
    weight = (one_hot @ one_hot.T).double().fill_diagonal_(0)
    exact = graphs.subspace(one_hot, 3)
    assert graphs.subspace_angles(exact, graphs.spectral(weight, 3)) == pytest.approx(0, abs=1e-6)


def test_bounds_stay_below_the_mutual_information(numbers):
    """For any critic, with hard negatives or without (theory 4g): no interval lies above the truth."""
    found = numbers("gaussian_mi")
    truth = found["mutual information"]
    assert truth == pytest.approx(0.020411, abs=1e-6)
    for bounds in [*found["exact"], *found["trained"]]:
        for bound in bounds:
            assert bound["low"] <= truth
            assert bound["low"] <= bound["value"] <= bound["high"] <= bound["ceiling"]
    for critic in ("exact", "trained"):
        assert found[critic][0][0]["ceiling"] == pytest.approx(math.log(10), abs=1e-5)


def test_the_exact_critic_is_the_log_ratio_of_densities(load, generator):
    """Against torch's own densities."""
    module = load("gaussian_mi")
    config = module.Config()
    x, y = torch.randn(5, 1, generator=generator), torch.randn(5, 7, generator=generator)
    covariance = torch.tensor([[config.variance, config.covariance], [config.covariance, config.variance]])
    joint = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
    alone = torch.distributions.Normal(0.0, math.sqrt(config.variance))
    ratio = joint.log_prob(torch.stack([x.expand_as(y), y], -1)) - alone.log_prob(x) - alone.log_prob(y)
    torch.testing.assert_close(module.exact_critic(config)(x, y), ratio, atol=1e-5, rtol=1e-5)


def test_hard_negatives_are_the_best_others(load, generator):
    """Of 8 others 25 % are two: all of the draw, without the positive, which scores highest."""
    scores = torch.arange(9.0).repeat(3, 1)
    drawn = load("gaussian_mi").hard_negatives(scores, torch.tensor([8, 8, 0]), 25.0, 2, generator)
    assert drawn.sort(1).values.tolist() == [[6, 7], [6, 7], [7, 8]]


def test_one_spiral_is_the_other_turned_by_half_a_circle(load, generator):
    """Archimedean: the radius is proportional to the angle, up to the edge of [-2, 2]^2 (theory 11)."""
    x, spiral = load("two_spirals").spirals(4000, generator)
    assert float(x.abs().max()) == pytest.approx(2)
    x = torch.where(spiral[:, None] == 1, -x, x).double()
    radius = x.norm(dim=1)
    slope = (radius.max() / (3 * math.pi)).item()
    angle = radius / slope
    turned = torch.stack([angle.cos(), angle.sin()], 1) * radius[:, None]
    torch.testing.assert_close(turned, x, atol=0.02, rtol=0)  # the last angle is drawn, not 3 pi itself


def test_two_spirals_run(numbers):
    """An accuracy for each level of noise; the seed decides it."""
    found = numbers("two_spirals")
    assert [0 <= value["mean"] <= 1 for value in found["linear"]] == [True] * 3
    assert numbers("two_spirals") == found
