import json

import numpy as np
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("method", ["tsne", "t-SNE", "SNE"])
def test_writes_everything(torchicon, points, tmp_path, method):
    result = torchicon("embed", points, "--method", method, "--labels", "side", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    files = {"map.parquet", "config.json", "metrics.json", "model", "report.html"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == files
    table = pq.read_table(tmp_path / "out/map.parquet").to_pydict()
    assert list(table) == ["row", "x", "y", "label"]
    assert np.isfinite([table["x"], table["y"]]).all()
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (metrics["rows"], metrics["loss"], metrics["iterations"]) == (60, 0.25, 7)


def test_config_runs_it_again(torchicon, points, tmp_path):
    torchicon("embed", points, "--perplexity", 7, "--seed", 5, "-o", tmp_path / "out")
    result = torchicon("embed", "--config", tmp_path / "out/config.json", "-o", tmp_path / "again")
    assert result.exit_code == 0, result.stderr
    for name in ("map.parquet", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert json.loads((tmp_path / "again/config.json").read_text())["estimator"]["perplexity"] == 7


def test_perplexity_adapts_unless_given(torchicon, points, tmp_path):
    result = torchicon("embed", points, "-o", tmp_path / "out")
    assert "the perplexity is 19.7 instead of 30" in result.stdout
    result = torchicon("embed", points, "--perplexity", 60, "-o", tmp_path / "refused")
    assert result.exit_code == 2
    assert "60 rows, too few for a perplexity of 60. Use --perplexity with at most 59," in result.stderr
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("perplexity", ["nan", "inf", "0.5", "-3", "many"])
def test_no_such_perplexity(torchicon, points, tmp_path, perplexity):
    result = torchicon("embed", points, f"--perplexity={perplexity}", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "perplexity" in result.stderr
    assert not (tmp_path / "out").exists()


def test_one_row_has_no_map(torchicon, tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 4)))
    result = torchicon("embed", tmp_path / "one.npy", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "has one row, and a map needs at least 2" in result.stderr
