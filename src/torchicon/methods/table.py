"""The periodic table: every method there is, by name and by cell."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from unicodedata import normalize

from torchicon.methods import (
    clustering,
    contrastive,
    crlc,
    cross_modal,
    identities,
    kernel_infonce,
    margins,
    multiview,
    mutual_information,
    neighbor_embedding,
    scaling,
    self_distillation,
    supervised,
)
from torchicon.methods.method import LEARNED, SUPERVISORY, Method

_FAMILIES = (
    neighbor_embedding,
    scaling,
    contrastive,
    margins,
    cross_modal,
    self_distillation,
    kernel_infonce,
    mutual_information,
    multiview,
    supervised,
    clustering,
    crlc,
)
TABLE: tuple[Method, ...] = tuple(method for family in _FAMILIES for method in family.ROWS)
# Further faces of methods of the table, which no cell of it needs: proven all the same.
IDENTITIES: tuple[Method, ...] = identities.ROWS


def home(method: Method) -> str:
    """The module in which a method's row is written."""
    families = (*_FAMILIES, identities)
    return next((family.__name__ for family in families if method in family.ROWS), method.p.__module__)


def find(name: str, methods: Sequence[Method] = (*TABLE, *IDENTITIES)) -> Method:
    """The method of that name among ``methods``, whatever its case, hyphens and spaces.

    Raises:
        KeyError: there is none; close names are suggested.

    >>> find("simclr").cell
    ('Positive pairs', 'Gaussian')
    """
    names = {_plain(method.name): method for method in methods}
    if _plain(name) in names:
        return names[_plain(name)]
    close = difflib.get_close_matches(_plain(name), names, n=3, cutoff=0.5)
    close += [key for key in names if _plain(name) and _plain(name) in key and key not in close]
    hint = f"did you mean {'; '.join(names[key].name for key in close[:5])}?" if close else "see `torchicon methods`."
    raise KeyError(f"No method is called {name!r}: {hint}")


def _plain(name: str) -> str:
    letters = normalize("NFKD", name.casefold())  # without accents, and LA₀ as LA0
    return "".join(c for c in letters if c.isalnum() or c == "+")  # BALL+ is not BALL


def cite(name: str) -> str:
    """BibTeX of a method's source.

    Raises:
        KeyError: there is no such method, or it has no source.

    >>> print(cite("PCA").splitlines()[1])
      author = {Pearson, Karl},
    """
    method = find(name)
    if method.citation is None:
        raise KeyError(f"{method.name} has no source to cite.")
    return method.citation.bibtex


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
