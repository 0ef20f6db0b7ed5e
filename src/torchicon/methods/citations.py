"""References of the methods: `references.bib`, read once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import final
from unicodedata import normalize

_ACCENT = re.compile(r"{\\(['\"])(\w)}")  # {\"o}, {\'e}
_MARKS = {"'": "\N{COMBINING ACUTE ACCENT}", '"': "\N{COMBINING DIAERESIS}"}


@final
@dataclass(frozen=True)
class Citation:
    """One BibTeX entry.

    Args:
        bibtex: the entry as it is printed; must have an author and a year.
    """

    bibtex: str

    @property
    def authors(self) -> tuple[str, ...]:
        """Family names, with accents as letters."""
        names = _ACCENT.sub(lambda found: normalize("NFC", found[2] + _MARKS[found[1]]), self._field("author"))
        return tuple(author.split(",")[0] for author in names.split(" and "))

    @property
    def year(self) -> int:
        """Year of publication."""
        return int(self._field("year"))

    def _field(self, name: str) -> str:
        found = re.search(rf"\b{name} = {{(.*)}}", self.bibtex)
        if found is None:
            raise ValueError(f"The BibTeX entry has no line '{name} = {{...}}': {self.bibtex!r}")
        return found[1]


def reference(key: str) -> Citation:
    """The entry of that key in `references.bib`.

    >>> reference("pearson1901lines").authors
    ('Pearson',)
    """
    return _entries()[key]


@cache
def _entries() -> dict[str, Citation]:
    text = files("torchicon.methods").joinpath("references.bib").read_text(encoding="utf-8")
    entries = re.finditer(r"^@\w+{([^,]+),\n.*?^}", text, re.MULTILINE | re.DOTALL)
    return {entry[1]: Citation(entry[0]) for entry in entries}
