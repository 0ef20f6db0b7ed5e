"""What a run may be asked for: typed, complete, and refused in words."""

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchicon import TABLE
from torchicon.data import DataError
from torchicon.training import TrainConfig
from torchicon.training.config import method_of
from torchicon.training.parsing import assignments, typed
from torchicon.training.recipes import RECIPES


def test_recipes_are_rows_and_their_defaults_can_be_set():
    names = {method.name for method in TABLE}
    assert set(RECIPES) <= names
    for name in RECIPES:
        TrainConfig.of(name, data="x")


@pytest.mark.parametrize("method", TABLE, ids=str)
def test_every_row_has_a_config_that_comes_back_from_json(method, tmp_path):
    """What a run writes down is what it was."""
    config = TrainConfig.of(method.name, data="pictures")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"torchicon": "0", "command": "train", "arguments": config.to_dict()}))
    assert TrainConfig.read(path) == config


def test_what_is_given_wins_over_a_file_and_a_file_over_the_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('method = "MoCo v3"\ndata = "pictures"\nlr = 0.5\nviews = "none"\ntext = ["one", "two"]\n')
    config = TrainConfig.read(path, lr="0.25")
    assert (config.lr, config.views, config.head_last_norm) == (0.25, "none", True)
    assert config.text == ("one", "two")


def test_settings_of_the_method_are_set_as_anything_else():
    config = TrainConfig.of("Kernel-InfoNCE (sum of losses)", data="x", tau_1="0.5", share="0.25", lr="1e-2")
    assert config.settings == {"tau_1": 0.5, "share": 0.25}
    row = config.row(n=100, iterations=10)
    assert row.settings["tau_1"] == 0.5
    assert row.settings["tau_2"] == method_of(config.method).settings["tau_2"]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"lrr": 0.1}, "there is no 'lrr' to set. Did you mean 'lr'"),
        ({"temprature": 0.1}, "Did you mean 'temperature'"),
        ({"lr": "fast"}, "lr must be a number, got 'fast'"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"compile": "perhaps"}, "compile must be true or false"),
        ({"optimizer": "adam"}, "one of sgd, adamw, lars"),
        ({"views": "simcrl"}, "Did you mean 'simclr'"),
        ({"blur": 2.0}, "blur of a view must lie in"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"batch_size": 9, "devices": 2}, "cannot be shared by 2 devices"),
        ({"teacher_momentum": 1.5}, "teacher_momentum must lie in"),
        ({"lr": "nan"}, "lr must be a number"),
        ({"lr": float("inf")}, "lr must be a number"),
        ({"settings": {"tau": 1}}, "SimCLR has no setting 'tau'"),
        ({"method": "x"}, "there is no 'method' to set"),
    ],
)
def test_wrong_values_are_refused_by_name(given_, message):
    name = given_.pop("method", None)
    with pytest.raises((DataError, TypeError), match=message if name is None else "method"):
        TrainConfig.of("simclr", data="x", **given_, **({} if name is None else {"method": name}))


def test_unknown_methods_and_missing_data_are_refused():
    with pytest.raises(DataError, match="did you mean SimCLR"):
        TrainConfig.of("simclrr", data="x")
    with pytest.raises(DataError, match="nothing to learn from"):
        TrainConfig.of("simclr")


@pytest.mark.parametrize("content", ["", "[1]", "{", "a = ", '{"torchicon": 1}', '{"method": 3}', "lr = 1"])
def test_files_that_are_no_config_are_refused_by_name(tmp_path, content):
    for suffix in (".json", ".toml"):
        path = tmp_path / f"c{suffix}"
        path.write_text(content)
        with pytest.raises(DataError, match=str(path)):
            TrainConfig.read(path)


@given(st.sampled_from([part.name for part in dataclasses.fields(TrainConfig)]), st.text(max_size=8) | st.floats())
def test_any_value_is_taken_or_refused(name, value):
    """Nothing but a DataError, whatever stands in a config file."""
    if name in ("method", "data"):
        return
    with contextlib.suppress(DataError):
        assert getattr(TrainConfig.of("SimCLR", data="x", **{name: value}), name) is not NotImplemented


@given(st.lists(st.text(max_size=6), max_size=4))
def test_assignments_are_pairs_or_refused(pairs):
    try:
        found = assignments(pairs)
    except DataError:
        assert any("=" not in pair or pair.startswith("=") for pair in pairs) or len(pairs) > 1
    else:
        assert [f"{key}={value}" for key, value in found.items()] == pairs


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("3", float, 3.0),
        ("none", int | None, None),
        ("a,b", tuple[str, ...], ("a", "b")),
        ("True", bool, True),
        (3, str, "3"),
    ],
)
def test_text_becomes_what_the_field_is(text, kind, value):
    assert typed("field", text, kind) == value


def test_a_view_step_is_switched_off_by_zero():
    policy = TrainConfig.of("simclr", data="x", crop=0, gray=0).view_policy()
    assert all(view.crop is None and view.gray == 0 for view in policy)
    assert policy[0].flip == 0.5
