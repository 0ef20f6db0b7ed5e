import json

import pytest

from torchicon import IDENTITIES, TABLE, cite
from torchicon._version import __version__
from torchicon.cli.run import FAILED
from torchicon.methods.claims import Evidence

ALL = (*TABLE, *IDENTITIES)
NAMES = [method.name for method in ALL]


def squeezed(text):
    return "".join(text.split())


def test_version(torchicon):
    assert torchicon("version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("name", NAMES)
def test_one_method(torchicon, name):
    method = ALL[NAMES.index(name)]
    result = torchicon("methods", name.upper())
    assert result.exit_code == 0
    for fact in (method.p_equation, method.q_equation, method.mapper, method.candidates, method.oracle or ""):
        assert squeezed(fact) in squeezed(result.stdout)
    assert method.citation is None or method.citation.bibtex in result.stdout


def test_all_methods(torchicon, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = torchicon("methods").stdout.splitlines()
    for method in TABLE:
        (line,) = [line for line in lines if line.startswith(f"{method.name}  ")]
        assert type(method.claim).__name__ in line
        assert method.citation is None or str(method.citation.year) in line


@pytest.mark.parametrize("columns", ["20", "80", "300"])
def test_periodic_table_is_never_cut(torchicon, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    printed = torchicon("table").stdout
    assert "…" not in printed
    cells = [column.split("│") for column in printed.splitlines()]
    words = {word.strip(",;") for line in cells for cell in line for word in cell.split()}
    for method in TABLE:
        assert {word.strip(",") for word in method.name.split()} <= words
        assert {word.strip(",") for word in " ".join(method.cell).split()} <= words


def test_cite(torchicon):
    assert torchicon("cite", "infonce", "Clustering").stdout == cite("InfoNCE clustering") + "\n"


def test_unknown_method(torchicon):
    for command in ("cite", "methods"):
        result = torchicon(command, "simclear")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "did you mean SimCLR" in result.stderr


def test_verify(torchicon):
    result = torchicon("verify", "--json")
    assert result.exit_code == 0
    seen = json.loads(result.stdout)
    assert seen["passed"]
    assert [claim["method"] for claim in seen["claims"]] == NAMES
    assert all(claim["passed"] for claim in seen["claims"])


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_verify_tells_of_failure(torchicon, monkeypatch, arguments):
    from torchicon.methods import verify

    evidence = {name: Evidence(0.0, 0.0, None, True) for name in NAMES}
    evidence["PCA"] = Evidence(float("inf"), 0.5, 2.0, False)
    monkeypatch.setattr(verify, "verify", lambda methods: evidence)
    result = torchicon("verify", *arguments)
    assert result.exit_code == FAILED == 1
    assert f"1 of {len(ALL)} claims failed: PCA." in result.stderr
    if arguments:
        claims = {claim["method"]: claim for claim in json.loads(result.stdout)["claims"]}
        assert (claims["PCA"]["passed"], claims["PCA"]["value_error"]) == (False, None)
    else:
        (line,) = [line for line in result.stdout.splitlines() if "FAIL" in line]
        assert line.startswith("PCA")


@pytest.mark.parametrize("command", ["", "demo", "cluster", "embed", "methods", "table", "cite", "verify", "version"])
def test_help(torchicon, command):
    short, long = torchicon(*command.split(), "-h"), torchicon(*command.split(), "--help")
    assert short.exit_code == long.exit_code == 0
    assert short.stdout == long.stdout
    assert "Usage: " in short.stdout
