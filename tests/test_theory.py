"""Every "theory 2.4" in the package leads to a section of docs/theory.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_section_that_the_package_cites_exists():
    page = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\d+)", page, re.MULTILINE)) | set(re.findall(r"\*\*(\d+(?:\.\d|[a-g]))\*\*", page))
    cited = {
        (file.name, section)
        for file in (ROOT / "src").rglob("*.py")
        for section in re.findall(r"theory,? (?:section )?(\d+(?:\.\d|[a-g]\b)?)", file.read_text(encoding="utf-8"))
    }
    assert cited
    assert {(name, section) for name, section in cited if section not in sections} == set()
