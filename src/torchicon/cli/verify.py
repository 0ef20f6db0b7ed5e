"""`torchicon verify`: every claim against its oracle."""

import json
import math
from typing import Annotated

import typer

from torchicon._version import __version__
from torchicon.cli.grids import print_list
from torchicon.cli.options import DebugOption
from torchicon.cli.outside import WithOption, find_or_exit, methods_of
from torchicon.cli.run import FAILED, complain, reported
from torchicon.cli.words import oracle_of
from torchicon.methods import IDENTITIES, TABLE, Method
from torchicon.methods.claims import Evidence


def verify(
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]", help="One method; all of them without.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    outside: WithOption = None,
    debug: DebugOption = False,
) -> None:
    """Test every method's claim against its independent oracle. The exit code is 1 if one fails."""
    with reported(debug=debug) as run:
        found = methods_of(outside)
        methods = (find_or_exit(name, found),) if name else (*TABLE, *IDENTITIES, *found)
        with run.step("checking the claims"):
            from torchicon.methods.verify import verify as check_all

            evidence = check_all(methods)
        failed = [name for name, seen in evidence.items() if not seen.passed]
        if as_json:
            claims = [_record(method, evidence[method.name]) for method in methods]
            typer.echo(json.dumps({"torchicon": __version__, "passed": not failed, "claims": claims}, indent=2))
        else:
            header = ["method", "claim", "oracle", "Δ value", "Δ gradient", "order", ""]
            print_list(
                header, [_row(method, evidence[method.name]) for method in methods], wrapped=("method", "oracle")
            )
        if failed:
            for one in failed:
                if evidence[one].failure is not None:
                    complain(f"{one}: {evidence[one].failure}")
            complain(f"{len(failed)} of {len(methods)} claims failed: {', '.join(failed)}.")
            raise typer.Exit(FAILED)
        if not as_json:
            untested = [method.name for method in methods if method.oracle is None]
            rest = f" Without an oracle, and so not tested: {', '.join(untested)}." if untested else ""
            run.print(f"Claims that hold: {len(methods) - len(untested)}.{rest}")


def _record(method: Method, seen: Evidence) -> dict[str, object]:
    return {
        "method": method.name,
        "claim": type(method.claim).__name__,
        "oracle": oracle_of(method),
        "value_error": _finite(seen.value_error),
        "gradient_error": _finite(seen.gradient_error),
        "order": _finite(seen.order),
        "passed": seen.passed,
        "tested": method.oracle is not None,
        "failure": seen.failure,
    }


def _row(method: Method, seen: Evidence) -> list[str]:
    return [
        method.name,
        type(method.claim).__name__,
        oracle_of(method),
        _number(seen.value_error, ".1e"),
        _number(seen.gradient_error, ".1e"),
        _number(seen.order, ".2f"),
        "FAIL" if not seen.passed else "not tested" if method.oracle is None else "pass",
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
