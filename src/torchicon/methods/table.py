"""The periodic table: every method there is, by name and by cell."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torchicon.methods import (
    clustering,
    contrastive,
    crlc,
    cross_modal,
    identities,
    kernel_infonce,
    margins,
    mutual_information,
    neighbor_embedding,
    scaling,
    self_distillation,
    supervised,
)
from torchicon.methods.method import LEARNED, SUPERVISORY, Method

TABLE: tuple[Method, ...] = (
    *neighbor_embedding.ROWS,
    *scaling.ROWS,
    *contrastive.ROWS,
    *margins.ROWS,
    *cross_modal.ROWS,
    *self_distillation.ROWS,
    *kernel_infonce.ROWS,
    *mutual_information.ROWS,
    *supervised.ROWS,
    *clustering.ROWS,
    *crlc.ROWS,
)
# Further faces of methods of the table, which no cell of it needs: proven all the same.
IDENTITIES: tuple[Method, ...] = identities.ROWS


def find(name: str, methods: Sequence[Method] = (*TABLE, *IDENTITIES)) -> Method:
    """The method of that name among ``methods``, whatever its case.

    Raises:
        KeyError: there is none; close names are suggested.

    >>> find("simclr").cell
    ('Positive pairs', 'Gaussian')
    """
    names = {method.name.casefold(): method for method in methods}
    if name.casefold() in names:
        return names[name.casefold()]
    close = [names[key].name for key in difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.4)]
    hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(m.name for m in methods)}."
    raise KeyError(f"No method is called {name!r}: {hint}")


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
