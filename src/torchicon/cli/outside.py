"""Methods written outside the package: a Python file with `Method`s in it joins the table for one command."""

import runpy
from pathlib import Path
from typing import Annotated

import typer

from torchicon.cli.run import REFUSED, complain
from torchicon.data import DataError
from torchicon.methods import IDENTITIES, TABLE, Method, find

WithOption = Annotated[
    Path | None,
    typer.Option(
        "--with",
        metavar="FILE",
        help="A Python file of your own with methods in it, which join the table. It is run.",
        show_default=False,
    ),
]


def methods_of(file: Path | None) -> tuple[Method, ...]:
    """The methods that a file defines, in order; none without a file.

    Raises:
        DataError: the file is not there, fails, defines no method, or one whose name is taken.
    """
    if file is None:
        return ()
    if not file.is_file():
        raise DataError("is not a file", file, "Give a Python file that defines a torchicon.Method.")
    try:
        names = runpy.run_path(str(file), run_name=file.stem)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise DataError(f"failed when it was run: {reason}", file, "Run it with python to see where.") from error
    ours = (*TABLE, *IDENTITIES)  # a file may import some, to make its own of them
    found = tuple(dict.fromkeys(value for value in names.values() if isinstance(value, Method) and value not in ours))
    if not found:
        raise DataError("defines no method", file, "Assign one to a name: METHOD = torchicon.Method(...).")
    for place, method in enumerate(found):
        if _is_taken(method.name, (*ours, *found[:place])):
            raise DataError(f"calls a method {method.name!r}, as another one is called", file, "Give it another name.")
    return found


def find_or_exit(words: list[str], outside: tuple[Method, ...]) -> Method:
    """The method of that name in the table or among those from outside; else a message and exit code 2."""
    try:
        return find(" ".join(words), (*TABLE, *IDENTITIES, *outside))
    except KeyError as error:
        complain(f"Error: {error.args[0]}")
        raise typer.Exit(REFUSED) from error


def _is_taken(name: str, by: tuple[Method, ...]) -> bool:
    """Whether a user who asks for that name gets one of these."""
    try:
        find(name, by)
    except KeyError:
        return False
    return True
