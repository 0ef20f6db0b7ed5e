"""The periodic table: every method there is, by name and by cell."""

from __future__ import annotations

import difflib

from torchicon.methods import clustering, contrastive, neighbor_embedding, supervised
from torchicon.methods.method import LEARNED, SUPERVISORY, Method

TABLE: tuple[Method, ...] = (
    *neighbor_embedding.ROWS,
    *contrastive.ROWS,
    *supervised.ROWS,
    *clustering.ROWS,
)


def find(name: str) -> Method:
    """The method of that name, whatever its case.

    Raises:
        KeyError: there is none; close names are suggested.

    >>> find("simclr").cell
    ('Positive pairs', 'Gaussian')
    """
    names = {method.name.casefold(): method for method in TABLE}
    if name.casefold() in names:
        return names[name.casefold()]
    close = [names[key].name for key in difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.4)]
    hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(m.name for m in TABLE)}."
    raise KeyError(f"No method is called {name!r}: {hint}")


def cite(name: str) -> str:
    """BibTeX of a method's source.

    >>> print(cite("PCA").splitlines()[1])
      author = {Pearson, Karl},
    """
    return find(name).citation.bibtex()


def periodic_table() -> str:
    """The table in Markdown: supervisory neighborhoods across, learned ones down."""
    lines = ["| |" + "|".join(SUPERVISORY) + "|", "|---" * (len(SUPERVISORY) + 1) + "|"]
    for learned in LEARNED:
        cells = [
            "; ".join(method.name for method in TABLE if method.cell == (supervisory, learned)) or " "
            for supervisory in SUPERVISORY
        ]
        lines.append(f"| **{learned}** |" + "|".join(cells) + "|")
    return "\n".join(lines)
