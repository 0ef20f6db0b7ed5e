"""Nothing stands in here: the command line on the estimators themselves."""

import json

import numpy as np
import pyarrow.parquet as pq

from torchicon.data import read_table
from torchicon.estimators import TSNE, Clustering


def test_cluster(torchicon, points, tmp_path):
    result = torchicon("cluster", points, "-k", 3, "--labels", "side", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "out/metrics.json").read_text())["scores"]["accuracy"] == 1
    result = torchicon("cluster", "--config", tmp_path / "out/config.json", "-o", tmp_path / "again")
    assert result.exit_code == 0, result.stderr
    rows = (tmp_path / "out/assignments.parquet").read_bytes()
    assert (tmp_path / "again/assignments.parquet").read_bytes() == rows
    model = Clustering.from_pretrained(tmp_path / "out/model")
    features = read_table(points, labels="side").features
    assert (
        pq.read_table(tmp_path / "out/assignments.parquet")["cluster"].to_pylist() == model.predict(features).tolist()
    )


def test_embed(torchicon, points, tmp_path):
    result = torchicon("embed", points, "--labels", "side", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    table = pq.read_table(tmp_path / "out/map.parquet")
    seen = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    np.testing.assert_array_equal(seen, TSNE.from_pretrained(tmp_path / "out/model").embedding_)
    side = np.array(table["label"].to_pylist())
    centers = np.stack([seen[side == name].mean(0) for name in ("left", "middle", "right")])
    nearest = np.linalg.norm(seen[:, None] - centers, axis=2).argmin(1)
    assert (np.array(["left", "middle", "right"])[nearest] == side).all()
