"""Where functions come from: their syntax trees, and what they take from around them."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Mapping
from types import FunctionType
from typing import Any


class OpaqueError(Exception):
    """A function whose source cannot be shown."""


def around(function: FunctionType) -> Mapping[str, Any]:
    """Globals, and above them what the function closes over."""
    return {**function.__globals__, **closed_over(function)}


def closed_over(function: FunctionType) -> dict[str, Any]:
    """What a function inside another takes from it."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells}


class Inlined(ast.NodeTransformer):
    """Names replaced by what they stand for."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The replacement, or the name."""
        return self.values.get(node.id, node)


@functools.cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _module(function: FunctionType) -> ast.Module:
    try:
        return _parsed("".join(inspect.findsource(function)[0]))
    except (OSError, SyntaxError) as error:
        raise OpaqueError from error


def lambda_of(function: FunctionType) -> ast.Lambda:
    """The smallest lambda on its line in which all of its instructions are."""
    code = function.__code__
    places = [(line, column) for line, _, column, _ in code.co_positions() if line is not None and column is not None]
    # the first instructions of a closure and a resumption lie at the lambda itself, or at no column
    inside = [place for place in places if place > (code.co_firstlineno, 0)]
    found = [
        node
        for node in ast.walk(_module(function))
        if isinstance(node, ast.Lambda)
        and node.lineno == code.co_firstlineno
        and [argument.arg for argument in node.args.args] == list(code.co_varnames[: code.co_argcount])
        and all(_start(node) <= place <= _end(node) for place in inside)
    ]
    if not found:
        raise OpaqueError
    return min(found, key=lambda node: (_end(node)[0] - node.lineno, _end(node)[1] - node.col_offset))


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


def definition_of(function: FunctionType) -> ast.FunctionDef:
    """A function without its annotations and docstring, which refer to more than they help here."""
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError) as error:
        raise OpaqueError from error
    if not isinstance(node, ast.FunctionDef):
        raise OpaqueError
    node.returns = None
    for part in ast.walk(node):
        if isinstance(part, ast.arg):
            part.annotation = None
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        del node.body[0]
    return node


def returned(definition: ast.FunctionDef) -> ast.expr | None:
    """The expression of a function that does nothing but return it."""
    [*before, last] = definition.body
    return last.value if not before and isinstance(last, ast.Return) else None


def assignment_of(name: str, user: FunctionType) -> ast.Assign | None:
    """Where a module gives a value to a name, alone or among others, at its top."""
    for node in _module(user).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(part, ast.Name) and part.id == name for target in node.targets for part in ast.walk(target)
        ):
            return node
    return None
