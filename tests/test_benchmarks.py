"""The benchmarks measure what they say: formulas agree, figures of quality are right, processes report truthfully."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.datasets import load_digits

from torchicon.evaluation import knn_accuracy, neighbor_recall

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROWS, DIMENSIONS = 24, 6


@pytest.fixture
def load(monkeypatch):
    """A benchmark's module, found as it is when its file is run."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.parametrize("name", ["ours", "plain", "lightly", "official-icon", "pml-supcon", "pml-ntxent"])
def test_every_way_to_compute_infonce_has_one_value_and_one_gradient(load, name):
    """Theory 2.2, SimCLR: the mean over anchors of -log softmax over the others, at the other view."""
    if name.startswith("pml"):
        pytest.importorskip("pytorch_metric_learning")
    infonce = load("infonce")
    z = torch.randn(ROWS, DIMENSIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = (z / z.norm(dim=1, keepdim=True)).numpy()
    scores = unit @ unit.T / infonce.TEMPERATURE
    others = np.exp(scores).sum(1) - np.exp(scores.diagonal())
    expected = np.mean(np.log(others) - scores[np.arange(ROWS), np.arange(ROWS) ^ 1])

    z.requires_grad_()
    loss = infonce.LOSSES[name]()(z)
    (gradient,) = torch.autograd.grad(loss, z)
    step = 1e-5 * torch.randn(ROWS, DIMENSIONS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        change = infonce.LOSSES["plain"]()(z + step) - infonce.LOSSES["plain"]()(z - step)
    assert loss.item() == pytest.approx(expected, abs=1e-6)  # pytorch-metric-learning adds a small constant
    assert (2 * gradient * step).sum().item() == pytest.approx(change.item(), rel=1e-5)


def test_the_kl_of_a_map_is_that_of_all_pairs(load):
    """KL(P || Q) written out, with P of the wanted perplexity on its neighbors."""
    quality = load("quality")
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((1100, 5)), 3 * generator.standard_normal((1100, 2))
    measured = quality.MapQuality(x, None, 12.0)
    p = measured.p.toarray()
    assert p.sum() == pytest.approx(1)
    assert p == pytest.approx(p.T)
    q = 1 / (1 + squareform(pdist(y, "sqeuclidean")))
    np.fill_diagonal(q, 0)
    q /= q.sum()
    kept = p > 0
    assert measured.kl(y) == pytest.approx((p[kept] * np.log(p[kept] / q[kept])).sum(), abs=1e-12)


def test_rows_have_the_perplexity_and_are_gaussian(load):
    sq_dist = np.sort(np.random.default_rng(0).uniform(0.5, 9, (50, 40)), axis=1) * np.logspace(-3, 3, 50)[:, None]
    p = load("quality").gaussian_rows(sq_dist, 12.0)
    assert np.exp(-(p * np.log(p)).sum(1)) == pytest.approx(np.full(50, 12.0))
    slopes = np.diff(np.log(p), axis=1) / np.diff(sq_dist, axis=1)
    assert slopes == pytest.approx(np.broadcast_to(slopes[:, :1], slopes.shape), rel=1e-4)


def test_figures_of_a_map_agree_with_evaluation(load):
    x, labels = load_digits(return_X_y=True)
    x = x[:400] + np.random.default_rng(1).uniform(0, 1e-3, (400, 64))  # without ties
    y = x[:, [20, 43]]
    found = load("quality").MapQuality(x, labels[:400], 30.0).neighborhoods(y)
    assert found["10-NN accuracy"] == pytest.approx(knn_accuracy(y, labels[:400]), abs=1e-12)
    assert found["neighbors kept"] == pytest.approx(neighbor_recall(x, y, k=10), abs=1e-12)


def test_own_rows_are_left_out_wherever_they_are(load):
    index = np.array([[0, 1, 2], [2, 1, 0], [0, 1, 3]])
    assert load("quality").others(index).tolist() == [[1, 2], [2, 0], [0, 1]]
    assert load("quality").recall(np.array([[1, 2], [5, 6]]), np.array([[2, 1], [6, 7]])) == 0.75


def test_the_exponent_of_a_power_law(load):
    records = [{"method": "ours", "seconds": [3e-9 * n**2.0], "mib": [0.01 * n]} for n in (1000, 2000, 4000, 8000)]
    found = load("growth").growth("work", [1000, 2000, 4000, 8000], records)["quality"]
    assert found["time exponent"] == pytest.approx([2.0])
    assert found["memory exponent"] == pytest.approx([1.0])


SCRIPT = """
import sys, time
sys.path.insert(0, {path!r})
import numpy as np
from harness import Benchmark

def sleeping(seconds, mib):
    def prepare(task):
        def work():
            held = np.ones(mib << 17)
            time.sleep(seconds)
            return {{"total": task.values.sum() + len(held) * 0, "found": task.values * task.seed}}
        return work
    return prepare

def missing(task):
    import no_such_package

def failing(task):
    raise RuntimeError("broken on purpose")

methods = {{"ours": sleeping(0.1, 20), "peer": sleeping(0.2, 80), "large": sleeping(0, 0)}}
benchmark = Benchmark(__doc__, methods | {{"missing": missing, "failing": failing}}, runs=2)
benchmark.parse()
held = np.ones(200 << 17)  # the parent's memory, which a child does not inherit
benchmark.compare(
    "sleep",
    {{"values": np.arange(4.0)}},
    skip=lambda name: "skipped: too large" if name == "large" else None,
    judge=lambda name, figures: {{"total": figures["total"], "last": figures["found"][-1]}},
)
benchmark.finish()
"""


def test_processes_report_time_memory_and_figures(tmp_path):
    script, kept = tmp_path / "script.py", tmp_path / "found.json"
    script.write_text(SCRIPT.format(path=str(BENCHMARKS)))
    done = subprocess.run([sys.executable, script, "--json", kept], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # one method failed
    ours, peer, large, missing, failing = json.loads(kept.read_text())["results"]
    assert ours["quality"] == peer["quality"] == {"total": [6.0, 6.0], "last": [0.0, 3.0]}
    assert min(ours["seconds"]) >= 0.1
    assert min(peer["seconds"]) >= 0.2
    if sys.platform == "linux":
        assert ours["mib"] == pytest.approx([20, 20], abs=4)
        assert peer["mib"] == pytest.approx([80, 80], abs=4)
    assert large["note"] == "skipped: too large"
    assert missing["note"] == "skipped: no_such_package is not installed"
    assert failing["note"] == "failed: RuntimeError: broken on purpose"
    cells = next(line for line in done.stdout.splitlines() if "| peer" in line).split("|")
    ratio = np.median(peer["seconds"]) / np.median(ours["seconds"])
    assert float(cells[4]) == pytest.approx(ratio, abs=0.01)
    assert "last 1.5 (0 to 3)" in cells[7]


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_every_script_is_loaded_without_running(load, script):
    assert load(script.stem).__doc__
