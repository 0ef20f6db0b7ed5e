import json
import re
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from torchicon import estimators
from torchicon.cli import mapping
from torchicon.data import arrays

pytestmark = pytest.mark.usefixtures("stand_ins")
_MAP = re.compile(r'id="map-data">(.*?)</script>', re.DOTALL)
FILES = {"assignments.parquet", "config.json", "metrics.json", "model", "report.html"}


def assignments(folder):
    return pq.read_table(folder / "assignments.parquet").to_pydict()


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_writes_everything(torchicon, points, tmp_path):
    result = torchicon("cluster", points, "-k", 3, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    rows = assignments(tmp_path / "out")
    assert list(rows) == ["row", "cluster", "confidence"]
    assert np.bincount(rows["cluster"]).tolist() == metrics(tmp_path / "out")["sizes"] == [20, 20, 20]
    assert rows["confidence"] == [0.8] * 60
    assert str(tmp_path / "out" / "report.html") in result.stdout


def test_labels_are_only_compared_with(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 3, "-o", tmp_path / "blind")
    result = torchicon("cluster", points, "-k", 3, "--labels", "side", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    rows = assignments(tmp_path / "out")
    assert rows["label"] == ["left"] * 20 + ["middle"] * 20 + ["right"] * 20
    assert rows["cluster"] == assignments(tmp_path / "blind")["cluster"]
    assert "scores" not in metrics(tmp_path / "blind")
    assert re.search(r"accuracy\W+100\.0%\W+100\.0%", result.stdout)


def test_report_agrees_with_metrics(torchicon, points, tmp_path):
    """With five clusters for three classes no score is round."""
    torchicon("cluster", points, "-k", 5, "--labels", "side", "-o", tmp_path / "out")
    seen = metrics(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    for key in ("accuracy", "nmi", "ari"):
        ours, theirs = seen["scores"][key], seen["k_means"]["scores"][key]
        assert 0 < ours < 1
        assert f"{ours:.1%} {theirs:.1%}" in text
    for cluster, size in enumerate(seen["sizes"]):
        assert re.search(rf"Cluster {cluster} {size} rows", text)
    assert all(note in text for note in seen["notes"])
    assert "A stand-in cut the first feature." in seen["notes"]


def test_config_runs_it_again(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 4, "--labels", "side", "--seed", 3, "-o", tmp_path / "out")
    result = torchicon("cluster", "--config", tmp_path / "out/config.json", "-o", tmp_path / "again")
    assert result.exit_code == 0, result.stderr
    for name in ("assignments.parquet", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert metrics(tmp_path / "again")["notes"] == metrics(tmp_path / "out")["notes"]


def test_arguments_win_over_the_config(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 4, "--no-map", "-o", tmp_path / "out")
    torchicon("cluster", "--config", tmp_path / "out/config.json", "-k", 2, "-o", tmp_path / "again")
    assert len(metrics(tmp_path / "again")["sizes"]) == 2
    assert json.loads((tmp_path / "again/config.json").read_text())["arguments"]["no_map"] is True


def test_changed_data_are_noticed(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out")
    points.write_text(points.read_text().replace("-9", "-8"))
    result = torchicon("cluster", "--config", tmp_path / "out/config.json", "-o", tmp_path / "again")
    assert result.exit_code == 0
    assert "The data are not those of the config's run" in result.stdout


def test_preset_is_recorded(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 3, "--preset", "icon-paper", "-o", tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["arguments"]["preset"] == "icon-paper"
    assert config["estimator"]["walks"] == 2


def test_no_map_shows_principal_components(torchicon, points, tmp_path):
    result = torchicon("cluster", points, "-k", 2, "--no-map", "-o", tmp_path / "out")
    assert "mapping" not in metrics(tmp_path / "out")["seconds"]
    assert "principal components" in result.stdout


def test_many_rows_are_placed_on_the_map_of_some(torchicon, points, tmp_path, monkeypatch):
    """The stand-in places each row where fitting would, so that the sample must not show in the report."""
    torchicon("cluster", points, "-k", 2, "-o", tmp_path / "whole")
    monkeypatch.setattr(mapping, "_FITTED_ROWS", 50)
    result = torchicon("cluster", points, "-k", 2, "-o", tmp_path / "sampled")
    assert "The map is of 50 rows drawn by the seed; the 10 others were placed on it." in result.stdout
    maps = [json.loads(_MAP.search((tmp_path / name / "report.html").read_text())[1]) for name in ("whole", "sampled")]
    assert maps[0]["points"] == maps[1]["points"]


def test_quiet_prints_nothing(torchicon, points, tmp_path):
    result = torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_warnings_become_notes(torchicon, points, tmp_path, monkeypatch):
    """A user reads a note, once, and not a Python warning."""

    def fit(self, X):
        warnings.warn("One cluster\n  is empty.", UserWarning, stacklevel=2)
        fitted = self.quietly(X)
        fitted.notes_ = ["One cluster is empty."]
        return fitted

    monkeypatch.setattr(estimators.Clustering, "quietly", estimators.Clustering.fit, raising=False)
    monkeypatch.setattr(estimators.Clustering, "fit", fit)
    result = torchicon("cluster", points, "-k", 3, "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("One cluster is empty.") == 1
    assert metrics(tmp_path / "out")["notes"].count("One cluster is empty.") == 1


def test_names_that_are_no_text(torchicon, tmp_path):
    """File names are bytes; those that are no UTF-8 must not cost a user the results."""
    pictures = tmp_path / "caf\udce9"
    pictures.mkdir()
    for number in range(6):
        Image.new("L", (8, 8), 40 * number).save(pictures / f"{number}\udcff.png")
    result = torchicon("cluster", pictures, "-k", 2, "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert assignments(tmp_path / "out")["row"][3] == r"3\udcff.png"


def test_same_rows_are_no_error(torchicon, tmp_path):
    np.save(tmp_path / "same.npy", np.ones((8, 2)))
    result = torchicon("cluster", tmp_path / "same.npy", "-k", 3, "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")


def test_demo_explains_itself(torchicon, tmp_path, monkeypatch):
    from torchicon.cli import demo

    whole = demo._digits()
    monkeypatch.setattr(demo, "_digits", lambda: {name: array[:300] for name, array in whole.items()})
    result = torchicon("demo", "-o", tmp_path / "demo")
    assert result.exit_code == 0, result.stderr
    assert {file.name for file in (tmp_path / "demo").iterdir()} == {*FILES, "digits.npz"}
    assert "K-Means" in result.stdout
    # and the folder says by itself how to run it again, wherever it lies
    (tmp_path / "demo").rename(tmp_path / "moved")
    again = torchicon("cluster", "--config", tmp_path / "moved/config.json", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.stderr
    assert assignments(tmp_path / "again") == assignments(tmp_path / "moved")


def test_features_that_stay_in_their_file_give_the_same_results(torchicon, tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    for folder, limit in (("memory", 2**30), ("mapped", 0)):
        monkeypatch.setattr(arrays, "_MAPPED_BYTES", limit)
        monkeypatch.setattr(mapping, "_BLOCK", 2**25 if limit else 50)
        result = torchicon("cluster", tmp_path / "x.npy", "-k", 3, "-o", tmp_path / folder)
        assert result.exit_code == 0, result.stderr
    assert assignments(tmp_path / "mapped") == assignments(tmp_path / "memory")
    one, two = (metrics(tmp_path / folder) for folder in ("memory", "mapped"))
    assert one["k_means"] == two["k_means"]


def test_principal_components_in_blocks(monkeypatch):
    x = np.random.default_rng(0).normal(size=(90, 4)) * [4, 3, 1, 1]
    whole = mapping.principal_components(x)
    monkeypatch.setattr(mapping, "_BLOCK", 4 * 90)
    assert len(mapping.blocks(x)) == 1
    monkeypatch.setattr(mapping, "_BLOCK", 4 * 80)
    parts = mapping.principal_components(x)
    similarity = np.abs((whole * parts).sum(0)) / np.linalg.norm(whole, axis=0) / np.linalg.norm(parts, axis=0)
    np.testing.assert_allclose(similarity, 1, atol=0.05)
