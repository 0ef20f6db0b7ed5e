"""Laws of the package as a whole: light to import, small files, honest public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import torchicon

SOURCE = Path(torchicon.__file__).parent
HEAVY = ("lightning", "sklearn", "matplotlib", "faiss", "transformers", "scipy", "pandas", "pyarrow", "jinja2", "rich")
HEAVY += ("triton", "torch._dynamo")  # a second of work that only a compiled or fused loss needs


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("torchicon", HEAVY), ("torchicon.cli.training", ("lightning", "transformers", "tensorboard"))],
)
def test_import_is_light(module, heavy):
    """``import torchicon`` loads torch and nothing heavy, and a training's errors come before Lightning does."""
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_file_eats_its_neighbors(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("name", ["Clustering", "ICon", "KMeans", "NeighborEmbedding", "NormalizedCuts", "SNE", "TSNE"])
def test_estimators_are_public_and_lazy(name):
    assert getattr(torchicon, name).__name__ == name
    assert name in dir(torchicon)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Klustering'"):
        torchicon.Klustering  # noqa: B018 - the access is what raises
