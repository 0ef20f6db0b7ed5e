"""`torchicon methods | cite`: the methods of the periodic table, one by one."""

from typing import Annotated

import typer

from torchicon.cli.grids import print_facts, print_list
from torchicon.cli.outside import WithOption, find_or_exit, methods_of
from torchicon.cli.run import REFUSED, complain, reported
from torchicon.cli.words import claim_of, loss_of, oracle_of, source_of
from torchicon.methods import IDENTITIES, TABLE, Method
from torchicon.methods.table import home

METHODS_EPILOG = "torchicon methods t-SNE"
CITE_EPILOG = "torchicon cite SimCLR >> references.bib"
NameArgument = Annotated[
    list[str], typer.Argument(metavar="NAME", help="A method's name, in any case.", show_default=False)
]


def methods(
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]", help="A method's name, in any case.", show_default=False)
    ] = None,
    outside: WithOption = None,
) -> None:
    """List the methods of the periodic table, or show one with its equations, claim, source and code."""
    with reported():
        found = methods_of(outside)
        if name:
            _show(find_or_exit(name, found))
            return
        header = ["method", "p, supervisory", "q, learned", "claim", "source"]
        rows = [[m.name, *m.cell, type(m.claim).__name__, source_of(m)] for m in (*TABLE, *found)]
        print_list(header, rows, wrapped=("method", "source"))
        typer.echo()
        rows = [[m.name, type(m.claim).__name__, source_of(m)] for m in IDENTITIES]
        print_list(["identity", "claim", "source"], rows, wrapped=("identity", "source"))


def cite(name: NameArgument, outside: WithOption = None) -> None:
    """Print the BibTeX entry of a method's source."""
    with reported():
        method = find_or_exit(name, methods_of(outside))
        if method.citation is None:
            complain(f"Error: {method.name} has no source to cite.")
            raise typer.Exit(REFUSED)
        typer.echo(method.citation.bibtex)


def _show(method: Method) -> None:
    from torchicon.cli.snippet import snippet

    facts = {
        "p": f"{method.p_equation}   ({method.cell[0]})".strip(),
        "q": f"{method.q_equation}   ({method.cell[1]})".strip(),
        "loss": loss_of(method),
        "mapper": method.mapper,
        "candidates": method.candidates,
        "constants": method.constants,
        "settings": ", ".join(f"{name} {value}" for name, value in method.settings.items()),
        "claim": f"{type(method.claim).__name__}: {claim_of(method.claim)[1]}",
        "row": home(method),
        "oracle": _where(method),
        "source": source_of(method),
    }
    print_facts(method.name, {key: value for key, value in facts.items() if value.strip()})
    typer.echo(f"\n{snippet(method)}")
    if method.citation is not None:
        typer.echo(f"\n{method.citation.bibtex}")


def _where(method: Method) -> str:
    """The oracle as Python names it, so that a reader finds its code."""
    if method.oracle is None:
        return ""
    from torchicon.oracles import ORACLES

    oracle = ORACLES[method.oracle] if isinstance(method.oracle, str) else method.oracle
    return f"{oracle.__module__}.{oracle_of(method)}"
