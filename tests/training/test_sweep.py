"""What a search ranges over, and that it ends with a config to train by."""

import json
import subprocess
import sys

import pytest
from tests.training.tiny import SMALL, write_squares

from torchicon.data import DataError
from torchicon.training import TrainConfig
from torchicon.training.sweep import space_of


def test_a_space_has_the_methods_own_settings():
    assert set(space_of("Kernel-InfoNCE (sum of losses)", {})) == {"lr", "tau_1", "tau_2", "share"}
    assert set(space_of("SimCLR", {"weight_decay": "1e-5:1e-3"})) == {"lr", "temperature", "weight_decay"}
    assert space_of("SimCLR", {"lr": "0.1:1"})["lr"] == (0.1, 1.0, True)
    assert space_of("SimCLR", {"lr": "0.5:1"})["lr"] == (0.5, 1.0, False)


@pytest.mark.parametrize("text", ["1", "a:b", "2:1", "1:1", ":", "nan:1"])
def test_ranges_that_are_none_are_refused(text):
    with pytest.raises(DataError, match="is no range"):
        space_of("SimCLR", {"lr": text})


def test_a_search_ends_with_a_config(tmp_path):
    pytest.importorskip("ray", reason="the sweep extra is not installed")
    data = write_squares(tmp_path / "squares.npz")
    chosen = {**SMALL, "epochs": 3, "evaluate_every": 1}
    threads = chosen.pop("threads")
    command = [sys.executable, "-m", "torchicon", "sweep", "simclr", "--data", data.name, "--trials", "2"]
    command += [f"--set={name}={value}" for name, value in chosen.items()]
    done = subprocess.run(
        [*command, "--threads", str(threads), "-o", "out"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = json.loads((tmp_path / "out" / "sweep.json").read_text())["trials"]
    best = TrainConfig.read(tmp_path / "out" / "best.json")
    assert len(trials) == 2
    assert best.lr == trials[0]["lr"]
    assert best.settings["temperature"] == trials[0]["temperature"]
    assert trials[0]["effective_rank"] >= trials[1]["effective_rank"]
