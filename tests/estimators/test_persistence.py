"""Saved models come back equal; anything else is refused by name; nothing is unpickled."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from torchicon import KNN, ICon, KMeans

X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture
def folder(tmp_path):
    KMeans(3, random_state=0).fit(pd.DataFrame(X, columns=["a", "b", "c"])).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_round_trip_predicts_the_same(folder):
    model = KMeans.from_pretrained(folder)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    np.testing.assert_array_equal(model.predict(frame), model.labels_)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    assert model.get_params()["n_clusters"] == 3
    assert list(model.get_feature_names_out()) == ["kmeans0", "kmeans1", "kmeans2"]


def test_a_module_comes_back_with_its_weights(tmp_path):
    model = ICon(p=KNN(3), mapper="mlp", epochs=3, verbose=False, random_state=0).fit(X)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"\['p'\], which JSON cannot hold"):
        ICon.from_pretrained(tmp_path)
    again = ICon.from_pretrained(tmp_path, p=KNN(3))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


def test_an_unfitted_model_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        KMeans(3).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_another_class_is_refused(folder):
    with pytest.raises(ValueError, match="holds a KMeans, not a ICon"):
        ICon.from_pretrained(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"torchicon": "1"}'])
def test_a_broken_config_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        KMeans.from_pretrained(folder)


def test_cut_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cannot be read"):
        KMeans.from_pretrained(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere holds no model"):
        KMeans.from_pretrained(tmp_path / "nowhere")


def test_the_config_is_plain_json(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["class"] == "KMeans"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("name", ["predict", "__class__", "_n_features_out"])
def test_a_config_replaces_nothing_but_fitted_attributes(folder, name):
    config = json.loads((folder / "config.json").read_text())
    config["fitted"][name] = {"value": "mischief"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no fitted attribute"):
        KMeans.from_pretrained(folder)


@pytest.mark.parametrize(
    "change", [{"parameters": [1]}, {"parameters": {"evil": 1}}, {"objects": 3}, {"fitted": [1]}, {"fitted": {"a_": 1}}]
)
def test_parts_of_the_wrong_type_are_refused(folder, change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=r"config\.json"):
        KMeans.from_pretrained(folder)


def test_bottomless_json_is_refused(folder):
    (folder / "config.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        KMeans.from_pretrained(folder)


def test_weights_of_another_shape_are_refused(tmp_path):
    ICon(p=KNN(3), epochs=1, verbose=False, random_state=0).fit(X).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["parameters"]["n_components"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit a ICon"):
        ICon.from_pretrained(tmp_path, p=KNN(3))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [("format", 99, "has format 99"), ("arrays", {"cluster_centers_": [3, 9]}, "arrays that")],
)
def test_another_format_and_other_arrays_are_told(folder, part, value, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {part: value}))
    with pytest.raises(ValueError, match=message):
        KMeans.from_pretrained(folder)
