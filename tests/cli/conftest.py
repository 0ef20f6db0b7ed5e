"""Quick stand-ins for the estimators: these tests are about the command line around them."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from torchicon import estimators
from torchicon.cli.app import app


class StandIn:
    def __init__(self, *args, random_state, verbose, **kwargs):
        self.parameters = {"args": args, "random_state": random_state, "verbose": verbose, **kwargs}

    def get_params(self):
        return self.parameters

    def save_pretrained(self, folder):
        Path(folder).mkdir()
        (Path(folder) / "config.json").write_text(json.dumps({"torchicon": "stand-in"}))


class QuickClustering(StandIn):
    """Cuts the first feature into equal parts; the seed decides their names."""

    @classmethod
    def icon_paper(cls, *args, **kwargs):
        return cls(*args, walks=2, **kwargs)

    def fit(self, X):
        c = self.parameters["args"][0]
        rank = np.argsort(np.argsort(X[:, 0], kind="stable"))
        names = np.random.default_rng(self.parameters["random_state"]).permutation(c)
        self.labels_ = names[rank * c // len(X)]
        self.probabilities = np.full((len(X), c), 0.2 / (c - 1))
        self.probabilities[np.arange(len(X)), self.labels_] = 0.8
        self.center_, self.projection_ = X.mean(0), np.eye(X.shape[1])
        self.notes_ = ["A stand-in cut the first feature."]
        return self

    def predict_proba(self, X):
        return self.probabilities


class QuickMap(StandIn):
    """Features times a seeded matrix."""

    kl_divergence_ = 0.25
    n_iter_ = 7

    def fit(self, X):
        self.embedding_ = self.transform(X)
        return self

    def transform(self, X):
        matrix = np.random.default_rng(self.parameters["random_state"]).normal(size=(X.shape[1], 2))
        return X.astype(np.float64) @ matrix


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(estimators, "Clustering", QuickClustering, raising=False)
    monkeypatch.setattr(estimators, "TSNE", QuickMap, raising=False)
    monkeypatch.setattr(estimators, "SNE", QuickMap, raising=False)


@pytest.fixture
def points(tmp_path):
    """Three well-separated groups of 20 rows, with their names in a column."""
    generator = np.random.default_rng(0)
    file = tmp_path / "points.csv"
    rows = [
        f"{center + x:.6f},{y:.6f},{name}"
        for name, center in (("left", -9.0), ("middle", 0.0), ("right", 9.0))
        for x, y in generator.normal(size=(20, 2))
    ]
    file.write_text("\n".join(["x,y,side", *rows]) + "\n")
    return file


@pytest.fixture
def torchicon():
    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run
