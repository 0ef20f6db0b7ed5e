"""Models on disk: config.json (what it is) and model.safetensors (what it learned). Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import nn

from torchicon._version import __version__

_FORMAT = 1  # of what is written; raised when an older reader could not understand it
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_PARTS = {"torchicon", "class", "parameters", "objects", "fitted", "arrays"}


def save(estimator: Any, folder: Path) -> None:
    """Write an estimator's parameters and fitted attributes."""
    check_is_fitted(estimator)
    parameters: dict[str, Any] = {}
    objects: list[str] = []
    for name, value in estimator.get_params(deep=False).items():
        value = value.item() if isinstance(value, np.generic) else value
        if _is_json(value):
            parameters[name] = value
        else:
            objects.append(name)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    fitted: dict[str, Any] = {}
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name.startswith("__"):
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            arrays[name] = np.ascontiguousarray(value)
        elif isinstance(value, nn.Module):
            arrays |= {f"{name}.{key}": weight.cpu().numpy() for key, weight in value.state_dict().items()}
        elif isinstance(value, np.ndarray):
            fitted[name] = {"names": value.tolist()}
        else:
            fitted[name] = {"value": value.item() if isinstance(value, np.generic) else value}
    config = {
        "torchicon": __version__,
        "format": _FORMAT,
        "class": type(estimator).__name__,
        "parameters": parameters,
        "objects": objects,
        "fitted": fitted,
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    # The weights first: a folder with a config.json is whole.
    write_whole(folder / _WEIGHTS, serialize(arrays))
    write_whole(folder / _CONFIG, json.dumps(config, indent=2).encode())


def load(kind: type[Any], folder: Path, objects: Mapping[str, Any]) -> Any:
    """Read an estimator of class ``kind`` back."""
    config = _read_config(kind, folder)
    missing = sorted(set(config["objects"]) - set(objects))
    if missing:
        raise ValueError(
            f"{folder} was fitted with {missing}, which JSON cannot hold: pass them to from_pretrained by name."
        )
    try:
        estimator = kind(**{**config["parameters"], **objects})
    except TypeError as error:
        raise ValueError(f"{folder / _CONFIG}, or the call, has wrong arguments: {error}.") from error
    for name, entry in config["fitted"].items():
        _check_fitted(name, folder / _CONFIG)
        setattr(estimator, name, np.array(entry["names"], dtype=object) if "names" in entry else entry.get("value"))
    try:
        arrays = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / _WEIGHTS} cannot be read ({error}); the model must be saved again.") from error
    if {name: list(array.shape) for name, array in arrays.items()} != config["arrays"]:
        raise ValueError(f"{folder / _WEIGHTS} does not hold the arrays that {_CONFIG} lists; save the model again.")
    modules: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        if "." in name:
            module, key = name.split(".", 1)
            modules.setdefault(module, {})[key] = torch.from_numpy(array)
        else:
            _check_fitted(name, folder / _WEIGHTS)
            setattr(estimator, name, array)
    try:
        for name, state in modules.items():
            _check_fitted(name, folder / _WEIGHTS)
            estimator._restore_module(name, state)
        check_is_fitted(estimator)
    except (AttributeError, RuntimeError, NotFittedError) as error:
        raise ValueError(f"{folder / _WEIGHTS} does not fit a {kind.__name__}: {error}") from error
    return estimator


def _check_fitted(name: str, path: Path) -> None:
    """A fitted attribute ends in an underscore: nothing else of an estimator is a file's to replace."""
    if name.startswith("_") or not name.endswith("_"):
        raise ValueError(f"{path} wants to set {name!r}, which is no fitted attribute.")


def _read_config(kind: type[Any], folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / _CONFIG).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder} holds no model: {_CONFIG} cannot be read ({error}).") from error
    if isinstance(config, dict) and "torchicon" in config and config.get("format") != _FORMAT:
        raise ValueError(
            f"{folder / _CONFIG} has format {config.get('format')}, this torchicon reads {_FORMAT}: fit and save again."
        )
    if not isinstance(config, dict) or not set(config) >= _PARTS:
        raise ValueError(f"{folder / _CONFIG} does not describe a torchicon model.")
    if not (
        isinstance(config["parameters"], dict)
        and isinstance(config["objects"], list)
        and isinstance(config["fitted"], dict)
        and all(isinstance(entry, dict) for entry in config["fitted"].values())
    ):
        raise ValueError(f"{folder / _CONFIG} does not describe a torchicon model: its parts have the wrong types.")
    if config["class"] != kind.__name__:
        raise ValueError(f"{folder} holds a {config['class']}, not a {kind.__name__}: load it with that class.")
    return config


def write_whole(path: Path, content: bytes) -> None:
    """Write a whole file or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
