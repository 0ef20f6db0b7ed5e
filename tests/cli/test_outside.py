"""A method written outside the package joins the command line."""

from __future__ import annotations

import json

import pytest

OWN = """
from torchicon import KNN, Method, StudentT, debias

HEAVY = Method(
    name="Heavy tails",
    cell=("kNN", "Student-t"),
    p=lambda x: KNN(5)(x),
    q=lambda z: debias(StudentT(0.5)(z), 0.2),
)
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "heavy.py"
    file.write_text(OWN)
    return file


def test_it_is_listed_shown_and_verified(torchicon, own):
    assert "Heavy tails" in torchicon("methods", "--with", own).stdout
    shown = torchicon("methods", "heavy", "tails", "--with", own).stdout
    assert "mean KL(p ‖ q)" in shown
    assert "row         heavy " in shown
    assert "tails" in torchicon("table", "--with", own).stdout
    claims = json.loads(torchicon("verify", "--json", "--with", own).stdout)["claims"]
    assert (claims[-1]["method"], claims[-1]["claim"], claims[-1]["tested"]) == ("Heavy tails", "Inspired", False)
    one = torchicon("verify", "heavy", "tails", "--with", own)
    assert "not tested: Heavy tails" in " ".join(one.stdout.split())


def test_its_code_runs(torchicon, own, capsys):
    shown = torchicon("methods", "heavy", "tails", "--with", own).stdout
    exec(compile(shown[shown.index("import torch") :], "snippet", "exec"), {})
    assert "tensor" in capsys.readouterr().out


def test_a_file_may_use_methods_of_the_table(torchicon, own):
    own.write_text(OWN + "from torchicon.methods.contrastive import SIMCLR\n")
    assert "Heavy tails" in torchicon("methods", "--with", own).stdout


def test_it_makes_a_map(torchicon, own, points, tmp_path):
    result = torchicon("embed", points, "--with", own, "--method", "heavy tails", "-o", tmp_path / "map", "--quiet")
    assert result.exit_code == 0, result.stderr
    metrics = json.loads((tmp_path / "map" / "metrics.json").read_text())
    assert metrics["loss"] > 0
    again = torchicon("embed", points, "--config", tmp_path / "map" / "config.json", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.stderr
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["loss"] == metrics["loss"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no method"),
        ("raise RuntimeError('by its author')", "RuntimeError: by its author"),
        ("syntax error", "SyntaxError"),
        (OWN.replace("Heavy tails", "simclr"), "Give it another name"),
        (OWN.replace("Heavy tails", "Sim CLR"), "Give it another name"),
        (OWN + OWN.replace("HEAVY", "ALSO").replace("Heavy tails", "heavy-tails"), "Give it another name"),
        (OWN.replace("kNN", "elsewhere"), "not in the table"),
    ],
)
def test_a_wrong_file_is_refused_by_name(torchicon, own, text, message):
    own.write_text(text)
    for command in (("methods",), ("table",), ("verify",), ("cite", "SNE")):
        result = torchicon(*command, "--with", own)
        assert result.exit_code == 2
        assert message in result.stderr
        assert "heavy.py" in result.stderr
        assert result.stdout == ""


def test_a_missing_file_is_named(torchicon, tmp_path):
    result = torchicon("methods", "--with", tmp_path / "nothing.py")
    assert (result.exit_code, "nothing.py" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("SimCLR", "takes image"),
        ("SupCon", "made without them"),
        ("nothing", "No method is called"),
        ("K-Means", "finds clusters, and no map"),
    ],
)
def test_a_method_that_makes_no_map_is_refused(torchicon, points, tmp_path, method, message):
    result = torchicon("embed", points, "--method", method, "-o", tmp_path / "map")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "map").exists()
