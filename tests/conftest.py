"""What every test shares: seeded numbers, and shape annotations that are checked."""

import sys
import types

import hypothesis
import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, beartype

# Before torchicon.core is first imported: its annotations become checks, here and nowhere else. The hook wants the name
# of a checker; ours reads annotations as the language does, where an int is a float too.
_checks = types.ModuleType("annotation_checks")
_checks.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules[_checks.__name__] = _checks
jaxtyping.install_import_hook("torchicon.core", f"{_checks.__name__}.check")

torch.set_num_threads(1)

# A busy machine must not fail a test: speed is a matter for benchmarks/.
hypothesis.settings.register_profile("torchicon", deadline=None)
hypothesis.settings.load_profile("torchicon")


@pytest.fixture
def generator():
    """A seeded source of random numbers; the global one is never touched."""
    return torch.Generator().manual_seed(20240229)


@pytest.fixture
def normal(generator):
    """Standard normal float64 tensors of a given shape."""

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw


@pytest.fixture
def unchecked(monkeypatch):
    """Switch the annotation checks off, to see the errors that a user sees."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """Pictures to train on; the file is only read."""
    from tests.training.tiny import write_squares

    return write_squares(tmp_path_factory.mktemp("data") / "squares.npz")


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    """Features with a graph to train on; the file is only read."""
    from tests.training.tiny import write_points

    return write_points(tmp_path_factory.mktemp("data") / "points.npz")
