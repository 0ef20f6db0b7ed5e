"""`torchicon table`: the periodic table, on the terminal or as a page."""

from pathlib import Path
from typing import Annotated

import typer

from torchicon.cli.grids import print_squares
from torchicon.cli.options import DebugOption
from torchicon.cli.outside import WithOption, methods_of
from torchicon.cli.run import reported
from torchicon.data import DataError
from torchicon.methods import TABLE
from torchicon.methods.method import LEARNED, SUPERVISORY

EPILOG = "torchicon table -o table.html"


def table(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a page with a picture of every method instead."),
    ] = None,
    outside: WithOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print the periodic table: supervisory neighborhoods p across, learned neighborhoods q down."""
    with reported(debug=debug) as run:
        methods = (*TABLE, *methods_of(outside))
        if output is None:
            rows = [["q \\ p", *SUPERVISORY]]
            for q in LEARNED:
                rows.append([q, *(";\n".join(m.name for m in methods if m.cell == (p, q)) for p in SUPERVISORY)])
            print_squares(rows)
            return
        if output.is_dir():
            raise DataError("is a folder", output, "Name the file: -o table.html.")
        if output.exists() and not force:
            raise DataError("exists already", output, "Give another name, or --force to replace it.")
        if not output.parent.is_dir():
            raise DataError("has no folder to stand in", output, f"Make {output.parent} first.")
        with run.step("writing"):
            from torchicon.cli.gallery import write_table_page

            write_table_page(output, methods)
        run.print(f"{len(methods)} methods: {output}")
