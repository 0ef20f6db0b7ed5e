"""Writes are whole or not there."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from torchicon.data import DataError, output_folder, write_json, write_parquet


def entries(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


def write_run(target, *, force=False, text="new"):
    with output_folder(target, force=force) as folder:
        write_json(folder / "config.json", {"torchicon": text})
        (folder / "report.html").write_text(text)


def test_json_converts_numpy_and_paths(tmp_path):
    write_json(
        tmp_path / "a.json", {"a": np.float32(0.5), "b": np.arange(3), "c": Path("x"), "d": np.bool_(True), "é": 1}
    )
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": "x",
        "d": True,
        "é": 1,
    }
    assert entries(tmp_path) == ["a.json"]


@pytest.mark.parametrize("bad", [float("nan"), np.float64("inf"), np.array([np.nan]), object(), {1, 2}])
def test_json_that_is_not_strict_leaves_the_old_file(tmp_path, bad):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(DataError, match="cannot be written as JSON"):
        write_json(tmp_path / "a.json", {"bad": bad})
    assert (tmp_path / "a.json").read_text() == "1\n"
    assert entries(tmp_path) == ["a.json"]


def test_parquet_columns(tmp_path):
    columns = {
        "name": ["a", "b"], "cluster": np.array([3, 1]), "probability": np.array([[0.25, 0.75], [1, 0]], np.float32),
        "text": np.array(["x", "yy"]), "sure": np.array([True, False]),
    }  # fmt: skip
    write_parquet(tmp_path / "a.parquet", columns)
    assert pq.ParquetFile(tmp_path / "a.parquet").read().to_pydict() == {
        "name": ["a", "b"], "cluster": [3, 1], "probability": [[0.25, 0.75], [1, 0]], "text": ["x", "yy"],
        "sure": [True, False],
    }  # fmt: skip
    assert entries(tmp_path) == ["a.parquet"]


@pytest.mark.parametrize("bad", [np.arange(3), np.zeros((2, 2, 2)), np.zeros((2, 0)), np.float64(3)])
def test_parquet_columns_that_do_not_fit(tmp_path, bad):
    with pytest.raises(DataError, match=r"columns must be \(n,\) or \(n, d\)"):
        write_parquet(tmp_path / "a.parquet", {"a": np.arange(2), "b": bad})
    assert entries(tmp_path) == []


@pytest.mark.parametrize("write", [lambda path: write_json(path, 1), lambda path: write_parquet(path, {"a": [1]})])
def test_places_that_cannot_be_written(tmp_path, write):
    (tmp_path / "file").touch()
    for path in [tmp_path / "missing" / "a", tmp_path / "file" / "a"]:
        with pytest.raises(DataError, match="cannot be written"):
            write(path)
    assert entries(tmp_path) == ["file"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", "old")

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DataError, match="No space left on device"):
        write_json(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == '"old"\n'
    assert entries(tmp_path) == ["a.json"]


def test_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_json(tmp_path / "a.json", 1)
    write_run(tmp_path / "run")
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "folder").stat().st_mode


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_appears_at_success_only(tmp_path, force):
    target = tmp_path / "parent" / "run"
    with output_folder(target, force=force) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
        assert folder.name.startswith(".")
        assert folder.parent == target.parent
    assert entries(tmp_path) == ["parent", "parent/run", "parent/run/a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_nothing_behind_and_the_old_intact(tmp_path, error, existing):
    target = tmp_path / "run"
    if existing:
        write_run(target, text="old")
    before = entries(tmp_path)

    def fail():
        with output_folder(target, force=True) as folder:
            (folder / "report.html").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert entries(tmp_path) == before
    if existing:
        assert (target / "report.html").read_text() == "old"


def test_an_empty_folder_may_be_used(tmp_path):
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run")
    assert entries(tmp_path) == ["run", "run/config.json", "run/report.html"]


def test_an_existing_folder_is_kept_without_force_and_replaced_with_it(tmp_path):
    target = tmp_path / "run"
    write_run(target, text="old")
    (target / "extra").touch()
    with pytest.raises(DataError, match=r"exists and is not empty.*--force"):
        write_run(target)
    assert (target / "report.html").read_text() == "old"
    write_run(target, force=True)
    assert (target / "report.html").read_text() == "new"
    assert entries(tmp_path) == ["run", "run/config.json", "run/report.html"]


@pytest.mark.parametrize("config", [None, "{}", "[]", '"torchicon"', "not json", b"\xff\xfe", "[" * 100_000])
def test_force_never_deletes_what_is_not_ours(tmp_path, config):
    target = tmp_path / "precious"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    if config is not None:
        (target / "config.json").write_bytes(config if isinstance(config, bytes) else config.encode())
    with pytest.raises(DataError, match=r"no config\.json of torchicon"):
        write_run(target, force=True)
    assert (target / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("force", [False, True])
def test_a_file_is_no_folder(tmp_path, force):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DataError, match="is a file"):
        write_run(tmp_path / "run", force=force)
    with pytest.raises(DataError, match="cannot be written"):
        write_run(tmp_path / "run" / "below", force=force)
    assert (tmp_path / "run").read_text() == "a file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission denied"):
        write_run(tmp_path / "run")
    tmp_path.chmod(0o700)


def test_a_system_that_refuses_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match=r"cannot be written \(Permission denied"):
        write_run(tmp_path / "run")


def test_a_mount_point_is_refused_before_the_work():
    with pytest.raises(DataError, match="mount point"):
        write_run("/", force=True)


def test_results_are_kept_when_their_place_was_taken_meanwhile(tmp_path):
    target = tmp_path / "run"

    def race():
        with output_folder(target, force=False) as folder:
            (folder / "a").write_text("hours of work")
            target.mkdir()
            (target / "b").write_text("another run")
        return folder

    with pytest.raises(
        DataError, match=r"cannot be put in place.*The finished results are in (?P<kept>.*)\."
    ) as caught:
        race()
    kept = Path(caught.value.fix.removeprefix("The finished results are in ").removesuffix("."))
    assert (kept / "a").read_text() == "hours of work"
    assert (target / "b").read_text() == "another run"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_the_old_folder_returns_when_the_new_cannot_take_its_place(tmp_path, monkeypatch, error):
    target = tmp_path / "run"
    write_run(target, text="old")
    rename = Path.rename

    def refuse(self, other):
        if self.suffix == ".tmp":
            raise error
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises((DataError, KeyboardInterrupt)):
        write_run(target, force=True)
    assert (target / "report.html").read_text() == "old"


def test_a_link_stays_a_link(tmp_path):
    write_run(tmp_path / "real", text="old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_run(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "report.html").read_text() == "new"


def test_force_keeps_what_others_wrote(tmp_path):
    target = tmp_path / "run"
    with output_folder(target, force=False) as folder:
        write_json(folder / "config.json", {"torchicon": "0.1"})
    with output_folder(target, force=True, known=("config.json",)) as folder:
        write_json(folder / "config.json", {"torchicon": "0.2"})
    (target / "mynotes.txt").write_text("mine")
    with (
        pytest.raises(DataError, match=r"did not write \(mynotes\.txt\)"),
        output_folder(target, force=True, known=("config.json",)),
    ):
        pass
    assert (target / "mynotes.txt").read_text() == "mine"
