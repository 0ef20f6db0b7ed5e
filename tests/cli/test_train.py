"""The command line around a training: what it refuses, and in which words."""

import json
import sys

import numpy as np
import pytest
from tests.training.tiny import SMALL, config_of, write_squares
from typer.testing import CliRunner

from torchicon.cli.app import app
from torchicon.data import read_table
from torchicon.training import train

QUICK = [part for key, value in SMALL.items() if key != "threads" for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    return train(config_of("SimCLR", squares, labels="label"), tmp_path_factory.mktemp("runs") / "run")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "simclr", "--data", "DATA"], "Give -o DIR"),
        (["train", "--data", "DATA", "-o", "NEW"], "there is no method"),
        (["train", "simclrr", "--data", "DATA", "-o", "NEW"], "did you mean SimCLR"),
        (["train", "simclr", "-o", "NEW"], "nothing to learn from"),
        (["train", "simclr", "--data", "nowhere.parquet", "-o", "NEW"], "nowhere.parquet"),
        (["train", "simclr", "--data", "DATA", "--set", "lr", "-o", "NEW"], "'lr' sets nothing"),
        (["train", "simclr", "--data", "DATA", "--set", "lr=fast", "-o", "NEW"], "lr must be a number"),
        (["train", "simclr", "--data", "DATA", "--set", "lrr=1", "-o", "NEW"], "Did you mean 'lr'"),
        (["train", "simclr", "--data", "DATA", "--labels", "lable", "-o", "NEW"], "Did you mean 'label'"),
        (["train", "simclr", "--data", "DATA", "-o", "RUN"], "exists and is not empty"),
        (["train", "simclr", "--resume", "-o", "RUN"], "takes nothing but -o DIR"),
        (["train", "--resume", "-o", "NEW"], "has no config.json"),
        (["train", "--config", "DATA", "-o", "NEW"], "cannot be read as TOML or JSON"),
        (["train", "byol", "--data", "DATA", *QUICK, "-o", "NEW"], "asks for lattice, target"),
        (["evaluate", "NEW"], "has no config.json"),
        (["evaluate", "RUN", "--data", "nowhere.npz"], "nowhere.npz"),
        (["features", "RUN", "-o", "features.txt"], "names no .npy or .npz file"),
        (["features", "-o", "features.npy"], "a RUN or a --model, and not both"),
        (["features", "--model", "x/y", "-o", "features.npy"], "nothing to take features of"),
        (["sweep", "simclr", "--data", "DATA", "--search", "lr=1", "-o", "NEW"], "lr=1 is no range"),
        (["sweep", "simclr", "--data", "DATA", "--search", "views=0:1", "-o", "NEW"], "'views' cannot be searched"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals_say_what_and_the_way_out(arguments, message, squares, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"DATA": squares, "RUN": run, "NEW": tmp_path / "new"}
    result = invoke(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "new").exists()


def test_training_without_its_extra_says_what_to_install(monkeypatch, squares, tmp_path):
    monkeypatch.setitem(sys.modules, "torchicon.cli.training", None)
    result = invoke("train", "simclr", "--data", squares, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "pip install 'torchicon[train]'" in result.output


def test_a_run_finishes_with_a_report_scores_and_figures(squares, tmp_path):
    folder = tmp_path / "run"
    result = invoke("train", "supcon", "--data", squares, "--labels", "label", "--threads", 1, *QUICK, "-o", folder)
    assert result.exit_code == 0, result.output
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["knn_accuracy"] >= 0.25
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "loss.png",
        "effective_rank.png",
        "knn_accuracy.png",
    }
    assert (folder / "report.html").stat().st_size > 10_000
    assert any((folder / "tensorboard").iterdir())
    again = invoke("train", "--config", folder / "config.json", "--set", "seed=1", "-o", folder, "--force")
    assert again.exit_code == 0, again.output
    assert json.loads((folder / "config.json").read_text())["arguments"]["seed"] == 1


def test_features_are_the_encoders_in_the_order_of_the_data(run, squares, tmp_path):
    from torchicon.data import read_samples
    from torchicon.training import Encoder, features_of

    expected = features_of(Encoder.from_pretrained(run), read_samples(squares, size=8))
    assert invoke("features", run, "-o", tmp_path / "f.npy").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), expected)
    assert invoke("features", run, "--data", squares, "--labels", "label", "-o", tmp_path / "f.npz").exit_code == 0
    with np.load(tmp_path / "f.npz") as file, np.load(squares) as data:
        np.testing.assert_array_equal(file["label"], data["label"])
        np.testing.assert_array_equal(file["X"], expected)
        np.testing.assert_array_equal(file["images"], data["images"])
        assert file["name"].tolist() == [str(row) for row in range(48)]


def test_evaluation_writes_its_scores(run, squares, tmp_path):
    other = write_squares(tmp_path / "other.npz", seed=1)
    result = invoke("evaluate", run, "--data", other, "-o", tmp_path / "scores.json")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["knn_accuracy"] > 0.9
    assert scores["command"].split()[2:4] == [str(run), "--data"]
    assert scores["infonce_bound"] <= scores["infonce_ceiling"]


def test_labels_of_the_test_data_are_enough(squares, tmp_path):
    """A run that knew none is scored within the data that have some."""
    train(config_of("SimCLR", squares, epochs=1), tmp_path / "run")
    result = invoke("evaluate", tmp_path / "run", "--data", squares, "--labels", "label", "-o", tmp_path / "s.json")
    assert result.exit_code == 0, result.output
    assert 0 <= json.loads((tmp_path / "s.json").read_text())["knn_accuracy"] <= 1


def test_features_of_large_pictures_come_with_small_ones(run, tmp_path):
    """And `cluster` shows them."""
    pictures = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", images=pictures)
    made = tmp_path / "f.npz"
    result = invoke("features", run, "--data", tmp_path / "large.npz", "--size", "64", "-o", made)
    assert result.exit_code == 0, result.output
    with np.load(made) as file:
        assert file["images"].shape == (30, 48, 48, 3)
    table = read_table(made)
    assert table.images is not None
    assert table.row_names == [str(row) for row in range(30)]
