"""The README's and the documentation's examples run as they stand, and the README's table is the code's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from torchicon import TABLE, periodic_table
from torchicon.cli.app import app
from torchicon.training import TrainConfig, train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, block in BLOCKS
    if kind == "bash"
    for line in block.splitlines()
    if line.strip()
]


QUICK = {"epochs": "1", "mapper": "resnet10", "width": "4"}  # what the examples train, in seconds


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder with photos/ and a run on them, as the examples find or make them."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(generator.integers(0, 255, (40, 32, 3), dtype=np.uint8)).save(folder / "photos" / f"{i}.png")
    train(TrainConfig.of("SimCLR", data=str(folder / "photos"), threads=1, **QUICK), folder / "run")
    return folder


def quickly(block):
    """The same example, on a small network for an epoch."""
    settings = ", ".join(f'{name}="{value}"' for name, value in QUICK.items())
    return re.sub(r"epochs=\d+", settings, block)


def test_every_block_is_of_a_kind_that_is_tested():
    assert {kind for kind, _ in BLOCKS} == {"python", "bash"}


def test_the_python_blocks_run_in_order(capsys, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos / "photos", "photos")
    namespace: dict[str, object] = {}
    for kind, block in BLOCKS:
        if kind == "python":
            block = quickly(block) if "TrainConfig" in block else block
            exec(compile(block, "README.md", "exec"), namespace)
    assert "sparse||kernel -> sparse_kernel" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_run(command, photos, tmp_path, monkeypatch):
    program, *arguments = command
    if program == "pip":
        return
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        return
    assert program == "torchicon"
    monkeypatch.chdir(tmp_path)
    np.save("features.npy", load_digits().data[:300])
    np.savez("learned.npz", X=load_digits().data[:300])
    shutil.copytree(photos / "photos", "photos")
    if arguments[0] == "features":
        shutil.copytree(photos / "run", "run")
    if arguments[0] == "train":
        arguments += [part for name, value in QUICK.items() for part in ("--set", f"{name}={value}")]
    (own,) = [block for kind, block in BLOCKS if block.startswith("# heavy.py\n")]
    Path("heavy.py").write_text(own)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    if "-o" in arguments:
        place = tmp_path / arguments[arguments.index("-o") + 1]
        assert place.exists() if place.suffix else (place / "report.html").exists()


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_the_documentations_blocks_run(page, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos / "photos", "photos")
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        block = quickly(block) if "TrainConfig" in block else block
        exec(compile(block, page.name, "exec"), {})


def test_the_table_is_the_codes():
    assert periodic_table() in (ROOT / "docs" / "methods.md").read_text()


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(path):
    assert path.startswith("http") or (ROOT / path).exists()


def test_the_methods_named_in_prose_exist():
    assert {"SimCLR", "SupCon"} <= {method.name for method in TABLE}
