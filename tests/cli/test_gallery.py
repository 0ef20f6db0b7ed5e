"""The page that ships with the package, and the code it shows: every snippet runs and prints its method's loss."""

import contextlib
import io
import json
from importlib.resources import files

import pytest
import torch

from torchicon import IDENTITIES, TABLE, Method
from torchicon.cli.gallery import entry, write_table_page
from torchicon.cli.snippet import snippet
from torchicon.cli.words import SIGNS, claim_of
from torchicon.core import Candidates
from torchicon.neighborhoods import KNN, StudentT

ALL = (*TABLE, *IDENTITIES)


@pytest.mark.parametrize("method", ALL, ids=str)
def test_snippet_prints_the_loss(method):
    code = snippet(method)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, method.name, "exec"), {})
    loss = method.loss(method.example(torch.Generator().manual_seed(0)))
    assert printed.getvalue() == str(loss) + "\n"


def test_nearly_all_snippets_spell_p_and_q_out():
    called = [method.name for method in ALL if "\nmethod = find(" in snippet(method)]
    assert len(called) <= 0.03 * len(ALL), called


def outside(k):
    """A method that a function makes, with a constant of its own."""

    def near(x):
        """Neighbors."""
        return KNN(k)(x, candidates=Candidates.others(len(x)))

    return Method(name="Mine", cell=("kNN", "Student-t"), p=near, q=lambda z: StudentT(k + 0.5)(z))


def test_snippet_of_a_method_from_outside_shows_what_it_can():
    code = snippet(outside(3))
    assert "p = KNN(3)(x, candidates=Candidates.others(len(x)))" in code
    assert "q = StudentT(3 + 0.5)(z)" in code


def test_snippet_without_a_source():
    """A row of the table is called by its name; one from outside cannot be."""
    made = {}
    exec("p = lambda x: KNN(2)(x)", {"KNN": KNN}, made)
    method = Method(name='My "own"', cell=("kNN", "Student-t"), p=made["p"], q=lambda z: StudentT()(z))
    assert snippet(method) == '# My "own" has no source that could be shown here.'


@pytest.mark.parametrize("method", TABLE, ids=str)
def test_every_method_is_an_entry(method):
    made = entry(method)
    assert (made.name, made.column, made.row, made.gap) == (method.name, *method.cell, method.gap)
    assert made.sign in SIGNS
    assert claim_of(method.claim)[1]


def test_the_page_has_every_method(tmp_path):
    write_table_page(tmp_path / "table.html", (*TABLE, outside(2)))
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert page.count("<article ") == len(TABLE) + 1
    assert "Mine" in page


def test_the_gallery_is_small_and_of_this_table():
    text = files("torchicon.cli").joinpath("gallery.json").read_text(encoding="utf-8")
    gallery = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert len(text) < 400_000
    names = {method.name for method in TABLE}
    assert set(gallery["methods"]) <= names
    assert len([shown for shown in gallery["methods"].values() if "picture" in shown]) > 50
    assert {"by", "recipe", "dates", "versions"} <= set(gallery["made"])
