"""`torchicon methods | table | cite | verify`: the periodic table on the terminal."""

import json
import math
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD, SQUARE
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from torchicon._version import __version__
from torchicon.cli.options import DebugOption
from torchicon.cli.run import FAILED, REFUSED, complain, reported
from torchicon.methods import TABLE, Approaches, EqualUpTo, Inspired, Limit, Method, find
from torchicon.methods.claims import Claim
from torchicon.methods.method import LEARNED, SUPERVISORY

METHODS_EPILOG = "torchicon methods t-SNE"
CITE_EPILOG = "torchicon cite SimCLR >> references.bib"
NameArgument = Annotated[
    list[str], typer.Argument(metavar="NAME", help="A method's name, in any case.", show_default=False)
]


def methods(
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]", help="A method's name, in any case.", show_default=False)
    ] = None,
) -> None:
    """List the methods of the periodic table, or show one with its equations, claim and source."""
    if name:
        _show(_find(name))
        return
    rows = [[method.name, *method.cell, type(method.claim).__name__, _source(method)] for method in TABLE]
    _print_list(["method", "p, supervisory", "q, learned", "claim", "source"], rows, wrapped=("method", "source"))


def table() -> None:
    """Print the periodic table: supervisory neighborhoods p across, learned neighborhoods q down."""
    inhabited = [p for p in SUPERVISORY if any(method.cell[0] == p for method in TABLE)]
    rows = [["q \\ p", *inhabited]]
    for q in LEARNED:
        cells = [",\n".join(method.name for method in TABLE if method.cell == (p, q)) for p in inhabited]
        if any(cells):
            rows.append([q, *cells])
    widths = [max(len(word) for cell in column for word in cell.split()) for column in zip(*rows, strict=True)]
    grid = Grid(box=SQUARE, show_lines=True, padding=(0, 1, 0, 0))
    for title, width in zip(rows[0], widths, strict=True):
        grid.add_column(title, width=width)
    for row in rows[1:]:
        grid.add_row(*map(Text, row))
    _print(grid, width=sum(widths) + 2 * len(widths) + 1)


def cite(name: NameArgument) -> None:
    """Print the BibTeX entry of a method's source."""
    method = _find(name)
    if method.citation is None:
        complain(f"Error: {method.name} has no source to cite.")
        raise typer.Exit(REFUSED)
    typer.echo(method.citation.bibtex)


def verify(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, debug: DebugOption = False
) -> None:
    """Test every method's claim against its independent oracle. The exit code is 1 if one fails."""
    with reported(debug=debug) as run:
        with run.step("checking the claims"):
            from torchicon.methods.verify import verify as check_all

            evidence = check_all()
        failed = [name for name, seen in evidence.items() if not seen.passed]
        if as_json:
            claims = [
                {
                    "method": method.name,
                    "claim": type(method.claim).__name__,
                    "oracle": _oracle(method),
                    "value_error": _finite(evidence[method.name].value_error),
                    "gradient_error": _finite(evidence[method.name].gradient_error),
                    "order": _finite(evidence[method.name].order),
                    "passed": evidence[method.name].passed,
                }
                for method in TABLE
            ]
            typer.echo(json.dumps({"torchicon": __version__, "passed": not failed, "claims": claims}, indent=2))
        else:
            rows = [
                [
                    method.name,
                    type(method.claim).__name__,
                    _oracle(method),
                    _number(evidence[method.name].value_error, ".1e"),
                    _number(evidence[method.name].gradient_error, ".1e"),
                    _number(evidence[method.name].order, ".2f"),
                    "pass" if evidence[method.name].passed else "FAIL",
                ]
                for method in TABLE
            ]
            _print_list(["method", "claim", "oracle", "Δ value", "Δ gradient", "order", ""], rows, wrapped=("method",))
        if failed:
            complain(f"{len(failed)} of {len(TABLE)} claims failed: {', '.join(failed)}.")
            raise typer.Exit(FAILED)


def _find(words: list[str]) -> Method:
    try:
        return find(" ".join(words))
    except KeyError as error:
        complain(f"Error: {error.args[0]}")
        raise typer.Exit(REFUSED) from error


def _show(method: Method) -> None:
    grid = Grid.grid(padding=(0, 2))
    facts = {
        "p": f"{method.p_equation}   ({method.cell[0]})",
        "q": f"{method.q_equation}   ({method.cell[1]})",
        "mapper": method.mapper,
        "candidates": method.candidates,
        "direction": {"forward": "forward, KL(p || q)", "reverse": "reverse, KL(q || p)"}[method.direction],
        "weights": method.weights if isinstance(method.weights, str) else "by anchor",
        "constants": method.constants,
        "claim": _claim(method.claim),
        "oracle": _oracle(method),
        "source": _source(method),
    }
    for key, value in facts.items():
        grid.add_row(Text(key, style="dim"), Text(value))
    console = Console(highlight=False)
    console.print(Text(method.name, style="bold"))
    console.print(grid)
    console.print()
    if method.citation is not None:
        typer.echo(method.citation.bibtex)


def _claim(claim: Claim) -> str:
    kind = type(claim).__name__
    if isinstance(claim, Limit):
        return f"{kind}: equals the oracle, and the rescaled KL tends to it linearly"
    if isinstance(claim, Approaches):
        return f"{kind}: tends to the oracle with an error of order {claim.order:g}"
    if isinstance(claim, Inspired):
        return f"{kind}: {claim.reason}"
    if isinstance(claim, EqualUpTo):
        return f"{kind}: the constants above, within {claim.tolerance:g}"
    return f"{kind}: within {claim.tolerance:g}" if hasattr(claim, "tolerance") else kind


def _oracle(method: Method) -> str:
    if method.oracle is None:
        return ""
    return method.oracle if isinstance(method.oracle, str) else getattr(method.oracle, "__name__", "a function")


def _source(method: Method) -> str:
    if method.citation is None:
        return ""
    first, *more = method.citation.authors
    return f"{first}{' et al.' if more else ''} {method.citation.year}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _print_list(header: list[str], rows: list[list[str]], *, wrapped: tuple[str, ...]) -> None:
    """Print rows, one a line; only the named columns may take several."""
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in header:
        grid.add_column(title, no_wrap=title not in wrapped)
    for row in rows:
        grid.add_row(*map(Text, row))
    _print(grid, width=80)


def _print(grid: Grid, *, width: int) -> None:
    """Print a table whole: in a terminal too narrow for it, lines wrap, but nothing is cut."""
    console = Console(highlight=False)
    console.width = max(console.width, width)
    console.print(grid)
