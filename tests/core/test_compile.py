"""Losses inside a caller's module under torch.compile: the cases are in `compiled_cases` and `compiled_border`."""

import subprocess
import sys

import pytest
import torch

from torchicon.core import Candidates, Sparse, kl
from torchicon.core.skeleton import Leaves, put_together, take_apart
from torchicon.neighborhoods import Cosine, Positives, debias


def test_compiled_modules_do_as_the_eager_ones():
    """In a process without the annotation checks of `conftest.py`, which cannot be traced; torch's log is long."""
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:logging"]
    files = ["tests/core/compiled_cases.py", "tests/core/compiled_border.py"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_value_is_put_together_from_its_leaves():
    """Other leaves, of another batch, give another value with the same skeleton: what a graph is made of."""

    def parts(n):
        leaves = Leaves()
        neighborhoods = debias(Positives()(torch.arange(n) // 2), 0.25), Cosine(0.5)(torch.eye(n))
        return take_apart({"rows": neighborhoods, "names": ["p", None, True]}, leaves), leaves

    (skeleton, four), (same, six) = parts(4), parts(6)
    assert skeleton == same
    for n, leaves in ((4, four), (6, six)):
        value = put_together(skeleton, leaves)
        p, q = value["rows"]
        assert value["names"] == ["p", None, True]
        assert (p.n, p.alpha, q.n, p.candidates.size) == (n, 0.25, n, n)
        assert q.keys is q.anchors
        expected = kl(debias(Positives()(torch.arange(n) // 2), 0.25), Cosine(0.5)(torch.eye(n)))
        assert torch.equal(kl(p, q), expected)


def test_settled_rows_are_not_sorted_again():
    p = Sparse(torch.tensor([0, 2]), torch.tensor([1, 0]), candidates=Candidates.all(2))
    columns = p.columns
    assert p.settle() is p
    assert p.columns is columns
    assert columns.tolist() == [0, 1]


def test_eager_rows_are_refused_where_they_are_made():
    with pytest.raises(ValueError, match="Columns must lie in"):
        Sparse.from_neighbors(torch.tensor([[2]]), candidates=Candidates.all(2))
