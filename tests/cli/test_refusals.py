"""Bad input: exit code 2, one message that says what, where and how to fix it, and nothing left behind."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchicon.cli import cluster as command
from torchicon.cli import reading

pytestmark = pytest.mark.usefixtures("stand_ins")


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    message = " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in message
    for part in parts:
        assert part in message
    assert result.stdout == ""


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bad_files_leave_nothing(torchicon, tmp_path):
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    np.save(tmp_path / "nan.npy", np.array([[1.0, 2.0], [np.nan, 0.0]]))
    before = tree(tmp_path)
    for file, part in {
        "missing.npy": "No such file",
        "cut.npy": "not a complete .npy file",
        "model.pkl": "Pickles can run code",
        "nan.npy": "NaN in row 1, column 'c0'",
    }.items():
        refused(torchicon("cluster", tmp_path / file, "-k", 2, "-o", tmp_path / "out"), file, part)
    assert tree(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_too_few_rows(torchicon, points, tmp_path):
    result = torchicon("cluster", points, "-k", 61, "-o", tmp_path / "out")
    refused(result, "points.csv: has 60 rows, too few for 61 clusters. Ask for at most 60 with -k.")


def test_unknown_label_column(torchicon, points, tmp_path):
    result = torchicon("cluster", points, "-k", 3, "--labels", "sied", "-o", tmp_path / "out")
    refused(result, "points.csv", "Did you mean 'side'?")


@pytest.mark.parametrize("k", ["0", "1", "2.5", "ten"])
def test_no_such_number_of_clusters(torchicon, points, tmp_path, k):
    refused(torchicon("cluster", points, "-k", k, "-o", tmp_path / "out"), "-k")


@pytest.mark.parametrize("arguments", [("cluster",), ("cluster", "a.npy"), ("cluster", "a.npy", "-k", 3), ("clutser",)])
def test_usage(torchicon, arguments):
    refused(torchicon(*arguments), "Usage:")


def test_unwritable_folder_is_refused_before_any_work(torchicon, points, monkeypatch):
    def read(*_, **__):
        pytest.fail("the file was read first")

    monkeypatch.setattr(reading, "read_table", read)
    refused(torchicon("cluster", points, "-k", 3, "-o", points / "out"), "points.csv/out: cannot be written")


def test_existing_folder_is_kept(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 3, "-o", tmp_path / "out")
    before = tree(tmp_path / "out")
    refused(torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out"), "exists and is not empty", "--force")
    failing = torchicon("cluster", points, "-k", 99, "-o", tmp_path / "out", "--force")
    refused(failing, "too few")
    assert tree(tmp_path / "out") == before
    assert torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out", "--force").exit_code == 0
    assert tree(tmp_path / "out") != before


def test_force_spares_what_is_not_ours(torchicon, points, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("years of work")
    refused(torchicon("cluster", points, "-k", 2, "-o", tmp_path / "home", "--force"), "not replaced even by force")
    assert (tmp_path / "home/thesis.tex").exists()


def test_force_spares_the_input(torchicon, points, tmp_path):
    torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out")
    inside = points.rename(tmp_path / "out/points.csv")
    result = torchicon("cluster", inside, "-k", 2, "-o", tmp_path / "out", "--force")
    refused(result, "holds the input", "Name another output folder")
    assert inside.exists()


def test_full_disk(torchicon, points, tmp_path, monkeypatch):
    def write(*_, **__):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("torchicon.viz.write_cluster_report", write)
    refused(torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out"), "report.html: No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_our_own_failure_is_told_apart(torchicon, points, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("something\nodd")

    monkeypatch.setattr(command, "cluster_into", fail)
    result = torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: RuntimeError: something odd\n")
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    result = torchicon("cluster", points, "-k", 2, "-o", tmp_path / "out", "--debug")
    assert result.exit_code == 1
    assert "in fail" in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_are_not_markup_and_do_not_steer_the_terminal(torchicon, tmp_path):
    file = tmp_path / "[bold]\x1b[31m.npy"
    np.save(file, np.zeros((1, 2)))
    result = torchicon("cluster", file, "-k", 2, "-o", tmp_path / "out")
    refused(result, r"[bold]\x1b[31m.npy: has 1 row, too few for 2 clusters")
    assert "\x1b" not in result.output


class TestConfig:
    def write(self, path, **changes):
        config = {"torchicon": "0", "command": "cluster", "arguments": {"file": "points.csv", "clusters": 2}} | changes
        path.write_text(json.dumps(config))
        return path

    def test_of_another_command(self, torchicon, tmp_path):
        config = self.write(tmp_path / "config.json", command="embed")
        result = torchicon("cluster", "--config", config, "-o", tmp_path / "out")
        refused(result, "is of another command", "torchicon embed --config")

    def test_unknown_argument(self, torchicon, tmp_path):
        config = self.write(tmp_path / "config.json", arguments={"klusters": 2})
        refused(torchicon("cluster", "--config", config, "-o", tmp_path / "out"), "klusters", "clusters")

    def test_of_another_version(self, torchicon, points, tmp_path):
        config = self.write(tmp_path / "config.json")
        result = torchicon("cluster", "--config", config, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        assert "The config is of torchicon 0," in result.stdout

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"{}", b'{"torchicon": "0"}', b"[" * 100_000])
    def test_broken(self, torchicon, tmp_path, content):
        (tmp_path / "config.json").write_bytes(content)
        result = torchicon("cluster", "--config", tmp_path / "config.json", "-o", tmp_path / "out")
        refused(result, "config.json")

    def test_missing(self, torchicon, tmp_path):
        refused(torchicon("cluster", "--config", tmp_path / "config.json", "-o", tmp_path / "out"), "config.json")
        refused(torchicon("cluster", "--config", tmp_path, "-o", tmp_path / "out"))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.dictionaries(
            st.sampled_from(["file", "clusters", "labels", "seed", "preset", "no_map", "quiet"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda values: st.lists(values) | st.dictionaries(st.text(), values),
                max_leaves=5,
            ),
        )
    )
    def test_any_arguments(self, torchicon, tmp_path, arguments):
        config = self.write(tmp_path / "config.json", arguments={"file": "missing.npy", "clusters": 2} | arguments)
        result = torchicon("cluster", "--config", config, "-o", tmp_path / "out")
        refused(result)
        assert [path.name for path in Path(tmp_path).iterdir()] == ["config.json"]
