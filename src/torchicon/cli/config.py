"""config.json: what a run was asked for, so that it can be run again, and what it was run on."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import typer

from torchicon._version import __version__, versions
from torchicon.data import Table

SOFTWARE = ("torch", "numpy", "scikit-learn", "faiss-cpu")


def take_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Let the arguments of an earlier run's config.json be the defaults of this one (an eager option's callback)."""
    if path is None:
        return None
    config = _read(path)
    command, arguments = config.get("command"), config.get("arguments")
    if not isinstance(arguments, dict) or not isinstance(command, str):
        raise typer.BadParameter(f"{path} is no config.json of a torchicon run: it has no command and arguments.")
    if command != context.info_name:
        raise typer.BadParameter(f"{path} is of another command. Use: torchicon {command} --config {path} -o DIR")
    known = {parameter.name for parameter in context.command.params} - {"config", "output", "force"}
    unknown = sorted(set(arguments) - known)
    if unknown:
        raise typer.BadParameter(f"{path} has unknown arguments {unknown}. There are: {sorted(known)}.")
    if isinstance(arguments.get("file"), str):
        arguments["file"] = str(path.parent / arguments["file"])  # an absolute path stays as it is
    context.default_map = arguments
    return path


def make(command: str, arguments: dict[str, Any], table: Table, settings: dict[str, Any]) -> dict[str, Any]:
    """The config of a run: arguments as the command names them, and for the record the data and the versions."""
    return {
        "torchicon": __version__,
        "command": command,
        "arguments": arguments,
        "data": fingerprint(table),
        "estimator": settings,
        "versions": versions(*SOFTWARE),
    }


def settings(estimator: Any) -> dict[str, Any]:
    """The parameters that decide an estimator's result, in JSON's types or as text."""
    return {
        name: value if isinstance(value, bool | int | float | str | None) else str(value)
        for name, value in estimator.get_params().items()
        if name not in ("random_state", "verbose")  # the seed is an argument
    }


def differences(path: Path, table: Table) -> list[str]:
    """Why a run from this config may end otherwise than the run that wrote it; a sentence each."""
    config = _read(path)
    found = []
    if config["torchicon"] != __version__:
        found.append(f"The config is of torchicon {config['torchicon']}, this is {__version__}: results may differ.")
    if config.get("data") != fingerprint(table):
        found.append("The data are not those of the config's run: its results will not come out again.")
    return found


def fingerprint(table: Table) -> dict[str, Any]:
    """Shape and hash of the features, by which a changed file is known."""
    features = np.ascontiguousarray(table.features)
    n, d = features.shape
    return {"rows": n, "features": d, "sha256": hashlib.sha256(features.data).hexdigest()}


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict) or "torchicon" not in config:
        raise typer.BadParameter(f"{path} is no config.json of torchicon: it has no key 'torchicon'.")
    return config
