"""A training as its user sees it: a process that is killed and goes on, and several that share the work."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.training.tiny import SMALL, write_squares
from typer.testing import CliRunner

from torchicon.cli.app import app

METHOD = "ANN+"  # banks, close sets, a schedule: more to lose than most
ANNPLUS = {"epochs": 6, "evaluate_every": 2, "checkpoint_every": 2, "close_runs": 2}


def command(*arguments):
    return [sys.executable, "-m", "torchicon", *map(str, arguments)]


def settings(**more):
    chosen = {**SMALL, **ANNPLUS, **more}
    threads = chosen.pop("threads")
    return [*(f"--set={key}={value}" for key, value in chosen.items()), "--threads", threads]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments):
    """A command in a process of its own."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def run_here(*arguments):
    """A command of which it does not matter whose process it is: what it imports is there already."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


def losses(folder, name="metrics.csv"):
    with (folder / name).open(newline="") as file:
        return [{key: row[key] for key in row if key != "samples_per_second"} for row in csv.DictReader(file)]


def kill_after(arguments, metrics, rows):
    """Start a run and kill it, as nothing can be killed more, once it has written so many rows."""
    process = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and len(metrics.read_text().splitlines()) > rows:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    output = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, output


def test_train_kill_resume_evaluate_features_cluster_report(tmp_path):
    """The curve, the bank and the encoder of a run that was killed are those of a run that was not."""
    data = write_squares(tmp_path / "squares.npz")
    test = write_squares(tmp_path / "test.npz", n=24, seed=1)
    arguments = ["train", METHOD, "--data", data, "--labels", "label", "--test", test, *settings()]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    told = run(*arguments, "-o", whole)
    assert "Report" in told.stdout

    kill_after([*arguments, "-o", killed], killed / "metrics.csv", rows=7)
    assert not (killed / "encoder.safetensors").exists()
    run("train", "--resume", "-o", killed)
    assert losses(killed) == losses(whole)
    assert losses(killed, "evaluations.csv") == losses(whole, "evaluations.csv")
    assert [int(row["step"]) for row in losses(whole)] == list(range(1, 19))
    assert (killed / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()

    run_here("evaluate", killed, "--data", test, "-o", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert 0 <= scores["knn_accuracy"] <= 1
    assert {"linear_accuracy", "logistic_accuracy", "alignment", "uniformity", "effective_rank"} <= set(scores)

    run_here("features", killed, "--data", test, "--labels", "label", "-o", tmp_path / "features.npz")
    with np.load(tmp_path / "features.npz") as file:
        assert file["X"].shape == (24, 32)
        assert set(file["label"]) == {"red", "green", "blue", "yellow"}
    run_here("cluster", tmp_path / "features.npz", "-k", 4, "--labels", "label", "-o", tmp_path / "clusters")
    assert "report.html" in {path.name for path in (tmp_path / "clusters").iterdir()}
    page = (killed / "report.html").read_text(encoding="utf-8")
    assert METHOD in page
    assert "knn" in page.lower() or "neighbors" in page

    config = json.loads((killed / "config.json").read_text())
    assert config["arguments"]["method"] == METHOD
    again = tmp_path / "again"
    run_here("train", "--config", killed / "config.json", "-o", again)
    assert losses(again) == losses(whole)


@pytest.mark.parametrize("method", ["BALL+", "moco v3"])
def test_two_processes_draw_the_curve_of_one(tmp_path, method):
    """Gathered candidates, synchronized statistics, shared views, teachers and banks: the global batch is one batch."""
    data = write_squares(tmp_path / "squares.npz")
    curves = []
    for devices in (1, 2):
        folder = tmp_path / f"on{devices}"
        start = run_here if devices == 1 else run
        start("train", method, "--data", data, *settings(epochs=3, lr=0.005), "--devices", devices, "-o", folder)
        curves.append([float(row["loss"]) for row in losses(folder)])
    np.testing.assert_allclose(curves[1], curves[0], rtol=2e-4)
    assert np.ptp(curves[0]) > 1e-3  # it moves, so that equality says something
