"""From any name in the literature to its row and its oracle: the list in docs/methods.md is true and complete."""

from __future__ import annotations

import importlib
from pathlib import Path

from torchicon.methods import IDENTITIES, TABLE, find

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def catalogue():
    lines = PAGE.read_text(encoding="utf-8").split("| in the literature | row | in | oracle |\n")[1].splitlines()[1:]
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_line_leads_to_a_row_and_its_oracle():
    for said, row, home, oracle in catalogue():
        method = find(row)
        assert method.name == row, said
        assert method in importlib.import_module(f"torchicon.{home}").ROWS, said
        assert (method.oracle or "") == oracle, said


def test_every_row_is_in_the_list():
    listed = {row for _, row, _, _ in catalogue()}
    # further faces and variants of a listed row
    variants = {
        "SNE graph embedding as a Markov random field",
        "SNE graph embedding as spectral clustering",
        "t-SimCLR (row)",
        "CRLC, log-dot critic (across views)",
    }
    assert listed | variants == {method.name for method in (*TABLE, *IDENTITIES)}
