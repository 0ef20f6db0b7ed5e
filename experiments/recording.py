"""What the experiments share: a config from the command line, a record of where the numbers come from, a figure.

An experiment is a file with a frozen dataclass ``Config``, ``measure(config)`` that returns numbers JSON can hold, and
``draw(numbers)`` that makes a figure from them. Entries whose name begins with an underscore are drawn, not recorded.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

C = TypeVar("C")
_PACKAGES = ("torchicon", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")


def run(
    config_type: type[C],
    measure: Callable[[C], dict[str, Any]],
    draw: Callable[[dict[str, Any]], Figure],
    arguments: Sequence[str] | None = None,
) -> None:
    """Measure with the config that the command line gives, then write ``results/NAME.json`` and ``figures/NAME.png``.

    NAME is the script's. Without options the command reruns what is recorded; with some, give ``--output`` another
    folder to leave the record alone.
    """
    script = Path(sys.modules[measure.__module__].__file__ or "").resolve()
    parser = argparse.ArgumentParser(
        description=sys.modules[measure.__module__].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in fields(config_type):  # type: ignore[arg-type]
        default = field.default
        several = isinstance(default, tuple)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            nargs="+" if several else None,
            type=type(default[0] if several else default),
            default=default,
            help=f"default {' '.join(map(str, default)) if several else default}",
        )
    parser.add_argument("--output", type=Path, default=script.parent, help="folder of results/ and figures/")
    chosen = vars(parser.parse_args(arguments))
    output = chosen.pop("output")
    config = config_type(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})
    torch.set_num_threads(1)
    start = time.perf_counter()
    numbers = measure(config)
    record = {
        "experiment": script.stem,
        "config": asdict(config),  # type: ignore[call-overload]
        "numbers": recorded(numbers),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - start, 1),
        "machine": {"processor": processor(), "threads": 1, "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    }
    for folder in ("results", "figures"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    text = re.sub(r"\[[^][{}]*\]", lambda flat: " ".join(flat[0].split()), json.dumps(record, indent=1))
    (output / "results" / f"{script.stem}.json").write_text(text + "\n", encoding="utf-8")
    save(draw(numbers), output / "figures" / f"{script.stem}.png")
    print(f"{script.stem}: {record['seconds']} s, written to {output}/results and {output}/figures")


def figure(n_axes: int, *, height: float = 3.2, rows: int = 1) -> tuple[Figure, list[Any]]:
    """A figure without global state and its axes, ``rows`` of them, each with a light grid."""
    columns = -(-n_axes // rows)
    drawing = Figure(figsize=(3.6 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = list(drawing.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def save(drawing: Figure, path: Path) -> None:
    """A PNG of 128 colors, a third of the bytes of all colors."""
    drawing.set_dpi(110)
    drawing.canvas.draw()
    pixels = np.asarray(drawing.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    Image.fromarray(np.ascontiguousarray(pixels)).quantize(128).save(path, optimize=True)


def mean_and_range(values: Sequence[float]) -> dict[str, float]:
    """Mean, smallest and largest over seeds."""
    return {"mean": sum(values) / len(values), "low": min(values), "high": max(values)}


def recorded(value: Any) -> Any:
    """What a record keeps: floats to six significant digits, and nothing that is only drawn."""
    if isinstance(value, dict):
        return {str(key): recorded(item) for key, item in value.items() if not str(key).startswith("_")}
    if isinstance(value, list | tuple):
        return [recorded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def processor() -> str:
    """The processor's name, which Python's own modules do not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
