"""The code that makes a method: what its row says, cut out of its source so that it runs alone."""

import ast
import builtins
import copy
import inspect
from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType
from typing import Any

import torchicon
from torchicon import core, neighborhoods
from torchicon.cli.sources import (
    Inlined,
    OpaqueError,
    around,
    assignment_of,
    closed_over,
    definition_of,
    lambda_of,
    returned,
)
from torchicon.core import kl
from torchicon.methods import Method, Term, problems
from torchicon.methods.method import asked_by, settings_of

_PUBLIC = (torchicon, core, neighborhoods, problems)  # what a name is imported from, the first that has it
_PLAIN = (bool, int, float, str, tuple, type(None))


def snippet(method: Method) -> str:
    """Python that makes a method's small example and prints its loss, with p and q spelled out.

    A method whose p or q has no readable source is called by its name instead.

    >>> print(snippet(torchicon.find("SimCLR")))
    import torch
    from torchicon import Cosine, Positives, find, objective
    <BLANKLINE>
    problem = find("SimCLR").example(torch.Generator().manual_seed(0))
    image, z = problem["image"], problem["z"]
    <BLANKLINE>
    p = Positives()(image)
    q = Cosine(0.1)(z)
    loss = objective(p, q)
    print(loss)
    """
    try:
        return _Slice(method).text()
    except OpaqueError:
        if not _in_table(method):
            return f"# {method.name} has no source that could be shown here."
        lines = [
            "import torch",
            "from torchicon import find",
            "",
            f"method = find({quoted(method.name)})",
            "problem = method.example(torch.Generator().manual_seed(0))",
            "print(method.loss(problem))",
        ]
        return "\n".join(lines)


def _in_table(method: Method) -> bool:
    return method in (*torchicon.TABLE, *torchicon.IDENTITIES)


class _Slice:
    """The lines of a method and whatever they refer to, found name by name."""

    def __init__(self, method: Method) -> None:
        self.imports: dict[str, set[str]] = {}
        self.plain_imports = {"import torch"}
        self.definitions: dict[str, str] = {}
        self.tensors: dict[str, None] = {}
        self.body: list[str] = []
        self._values: dict[str, Any] = {}
        self._example = self._example_of(method)
        losses = []
        for number, term in enumerate(method.terms, start=1):
            suffix = "" if len(method.terms) == 1 else str(number)
            losses.append(self._term(term, suffix))
        if len(losses) == 1:
            self.body.append(f"loss = {losses[0]}")
        else:
            self.body.append("loss = (\n    " + "\n    + ".join(losses) + "\n)")
        self.body.append("print(loss)")

    def _example_of(self, method: Method) -> str:
        """The expression that makes the example: of a row from outside only the package's own problems can be named."""
        if _in_table(method):
            self._import("find", torchicon.find)
            return f"find({quoted(method.name)}).example"
        name: str = getattr(method.example, "__name__", "")
        if getattr(problems, name, None) is not method.example:
            raise OpaqueError
        self._import(name, method.example)
        return name

    def text(self) -> str:
        froms = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self.imports.items())]
        parts = [*sorted(self.plain_imports), *froms]
        for definition in self.definitions.values():
            parts += ["", definition]
        parts += ["", f"problem = {self._example}(torch.Generator().manual_seed(0))"]
        if self.tensors:
            given = ", ".join(f'problem["{name}"]' for name in self.tensors)
            parts.append(f"{', '.join(self.tensors)} = {given}")
        return "\n".join([*parts, "", *self.body])

    def _term(self, term: Term, suffix: str) -> str:
        """Lines for p and q; the expression of the loss."""
        p, q = f"p{suffix}", f"q{suffix}"
        self.body += [f"{p} = {self._expression(term.p)}", f"{q} = {self._expression(term.q)}"]
        if term.weights == "joint":
            self._import("joint_kl", core.joint_kl)
            loss = f"joint_kl({p}, {q})"
        else:
            self._import("objective", core.objective)
            options = [p, q]
            if term.direction != "forward":
                options.append(f"direction={quoted(term.direction)}")
            if callable(term.weights):
                options.append(f"weights={self._expression(term.weights)}")
            elif term.weights != "mean":
                options.append(f"weights={quoted(term.weights)}")
            if term.divergence is not kl:
                name = next((n for n, value in vars(core).items() if value is term.divergence), None)
                if name is None:
                    raise OpaqueError
                self._import(name, term.divergence)
                options.append(f"divergence={name}")
            loss = f"objective({', '.join(options)})"
        return loss if term.coefficient == 1.0 else f"{term.coefficient:.12g} * {loss}"

    def _expression(self, function: Callable[..., Any]) -> str:
        """A call of the function on the problem's tensors, written out if it is nothing but an expression."""
        if not isinstance(function, FunctionType):
            raise OpaqueError
        parameters = list(asked_by(function))
        self.tensors |= dict.fromkeys(parameters)
        body = lambda_of(function).body if function.__name__ == "<lambda>" else returned(definition_of(function))
        nested = function.__name__ == "<lambda>" or function.__closure__ is not None
        if body is None or not nested:
            self._name(function.__name__, function, function)
            return f"{function.__name__}({', '.join(parameters)})"
        given = closed_over(function) | settings_of(function)
        body = Inlined(
            {name: node for name, value in given.items() if (node := self._literal(value)) is not None}
        ).visit(copy.deepcopy(body))
        self._names_in(body, function, bound=parameters)
        return ast.unparse(body)

    def _literal(self, value: Any) -> ast.expr | None:
        """A plain value, or a recipe made anew from its settings."""
        if isinstance(value, _PLAIN):
            return ast.Constant(value) if not isinstance(value, tuple) else ast.parse(repr(value), mode="eval").body
        kind = type(value)
        if not self._import(kind.__name__, kind):
            return None
        settings = []
        for name, part in inspect.signature(kind).parameters.items():
            setting = getattr(value, name, part.default)
            if setting != part.default:
                node = self._literal(setting)
                if node is None:
                    return None
                settings.append(ast.keyword(name, node))
        return ast.Call(ast.Name(kind.__name__, ast.Load()), [], settings)

    def _names_in(self, node: ast.AST, function: FunctionType, bound: Sequence[str] = ()) -> None:
        """Import or define every name that the code takes from around it."""
        names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
        inner = {part.id for part in names if isinstance(part.ctx, ast.Store)} | {
            part.arg for part in ast.walk(node) if isinstance(part, ast.arg)
        }
        outside = around(function)
        for part in names:
            if part.id in inner or part.id in bound:
                continue
            if part.id in outside:
                self._name(part.id, outside[part.id], function)
            elif not hasattr(builtins, part.id):
                raise OpaqueError

    def _name(self, name: str, value: Any, user: FunctionType) -> None:
        if name in self._values or name in self.tensors:
            if self._values.get(name) is not value:
                raise OpaqueError  # two things of one name
            return
        if self._import(name, value):
            return
        if isinstance(value, Method) and value in (*torchicon.TABLE, *torchicon.IDENTITIES):
            self.definitions[name] = f"{name} = find({quoted(value.name)})"
            return
        self._values[name] = value
        if isinstance(value, FunctionType) and value.__name__ == "<lambda>":
            lambda_ = lambda_of(value)
            self._names_in(lambda_, value)
            self.definitions[name] = f"{name} = {ast.unparse(lambda_)}"
        elif isinstance(value, FunctionType):
            if value.__name__ != name:
                raise OpaqueError
            definition = definition_of(value)
            self._names_in(definition, value)
            self.definitions[name] = ast.unparse(definition)
        elif name in user.__globals__ and (assignment := assignment_of(name, user)) is not None:
            self._names_in(assignment.value, user)
            self.definitions.setdefault(text := ast.unparse(assignment), text)
        elif isinstance(value, _PLAIN):
            self.definitions[name] = f"{name} = {value!r}"
        else:
            raise OpaqueError

    def _import(self, name: str, value: Any) -> bool:
        if isinstance(value, ModuleType):
            parent, _, last = value.__name__.rpartition(".")
            if value.__name__ == name:
                self.plain_imports.add(f"import {name}")
            elif last == name:
                self.imports.setdefault(parent, set()).add(name)
            else:
                self.plain_imports.add(f"import {value.__name__} as {name}")
            self._values[name] = value
            return True
        home = next((module.__name__ for module in _PUBLIC if getattr(module, name, None) is value), None)
        named = not name.startswith("_") and getattr(value, "__name__", None) == name and hasattr(value, "__module__")
        if home is None and named and not value.__module__.startswith("torchicon.methods"):
            home = value.__module__
        if home is None:
            return False
        self.imports.setdefault(home, set()).add(name)
        self._values[name] = value
        return True


def quoted(text: str) -> str:
    """The text as a literal, in the double quotes of the project's style where it can be."""
    return repr(text) if '"' in text or not repr(text).startswith("'") else f'"{repr(text)[1:-1]}"'
