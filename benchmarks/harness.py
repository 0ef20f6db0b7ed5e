"""What the benchmarks share: methods in fresh processes, in turn, and one table of what they took.

A benchmark gives each method a function ``prepare(task)``. It runs in a process of its own, imports what it needs,
warms up on something small (imports, thread pools and compilation are not counted), and returns the work to be timed.
``task`` has the parent's entries as attributes, arrays among them, and ``seed``. The work returns figures; arrays are
handed back to the parent, where ``judge`` turns them into figures of quality. A figure called "seconds" stands for the
time of the whole work. Work of less than half a second is repeated in its process and the median counts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Work = Callable[[], Mapping[str, Any]]
Prepare = Callable[[SimpleNamespace], Work]
Judge = Callable[[str, dict[str, Any]], Mapping[str, float]]

_PACKAGES = ("torchicon", "torch", "numpy", "scipy", "scikit-learn", "faiss-cpu", "openTSNE", "torchdr", "umap-learn")
_PACKAGES += ("pynndescent", "pytorch-metric-learning")
_HEADER = ("work", "method", "seconds (min to max)", "/ ours", "MiB", "/ ours", "quality")
_REPEAT_BELOW, _MOST_REPEATS = 0.5, 50  # seconds, times


class Benchmark:
    """The command line of a benchmark and what it measured.

    Args:
        doc: the script's docstring, for ``--help``.
        methods: what prepares each method; ratios are to the one called "ours".
        runs: processes of each method, unless ``--runs`` says otherwise.
    """

    def __init__(self, doc: str | None, methods: Mapping[str, Prepare], *, runs: int = 5) -> None:
        self.methods = methods
        self.results: list[dict[str, Any]] = []
        self.parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.parser.add_argument("--runs", type=int, default=runs, help=f"processes of each method (default {runs})")
        self.parser.add_argument("--methods", nargs="+", choices=methods, metavar="METHOD", help=", ".join(methods))
        self.parser.add_argument("--json", type=Path, metavar="FILE", help="also write all single measurements here")
        self.parser.add_argument("--child", help=argparse.SUPPRESS)

    def parse(self) -> argparse.Namespace:
        """The arguments. In the process of one method: measure it and leave."""
        self.arguments = self.parser.parse_args()
        if self.arguments.child:
            print("\n" + json.dumps(_measure(self.methods, json.loads(self.arguments.child))))
            sys.exit()
        return self.arguments

    def compare(
        self,
        case: str,
        task: Mapping[str, Any],
        *,
        methods: Iterable[str] | None = None,
        skip: Callable[[str], str | None] = lambda method: None,
        once: Collection[str] = (),
        judge: Judge = lambda method, figures: figures,
    ) -> list[dict[str, Any]]:
        """Run methods in turn on one task, print their table, and return a record of each.

        Args:
            case: what is done, the first column.
            task: JSON values and arrays, which are saved once and loaded by every process.
            methods: names; all when left out. ``--methods`` chooses among them.
            skip: the reason not to run a method, if there is one.
            once: methods that get one process, because their warm-up compiles for a minute.
            judge: figures of quality from the method's name and what its work returned.
        """
        wanted = self.arguments.methods or self.methods
        records = {
            name: {"work": case, "method": name, "seconds": [], "mib": [], "quality": {}, "note": skip(name)}
            for name in methods or self.methods
            if name in wanted
        }
        with tempfile.TemporaryDirectory() as folder:
            request = {"threads": threads(), "out": folder, "arrays": []}
            for name, value in task.items():
                if isinstance(value, np.ndarray):
                    request["arrays"].append(name)
                    np.save(Path(folder, f"{name}.npy"), value)
                else:
                    request[name] = value
            for seed in range(self.arguments.runs):
                for name, record in records.items():
                    if record["note"] is None and (seed == 0 or name not in once):
                        _run({**request, "method": name, "seed": seed}, record, judge)
        self.add(*records.values())
        return list(records.values())

    def add(self, *records: dict[str, Any]) -> None:
        """Print records, and keep them for ``--json``."""
        self.results += records
        if records:
            print(table(records), end="\n\n", flush=True)

    def finish(self) -> None:
        """Write the JSON file, and fail if a method failed or ours did not run."""
        if self.arguments.json:
            record = {"machine": machine(), "command": sys.argv, "results": self.results}
            self.arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        notes = [record["note"] for record in self.results if record["note"]]
        missing = any(record["method"] == "ours" and record["note"] for record in self.results)
        sys.exit(missing or any(note.startswith("failed") for note in notes))


def threads() -> int:
    """How many threads every library may use: OMP_NUM_THREADS, or all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def memory() -> float:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def too_large(needed: float) -> str | None:
    """The reason to skip what needs so many bytes, if they are more than two thirds of the machine's."""
    if needed <= memory() * 2 / 3:
        return None
    return f"skipped: needs about {needed / 2**30:,.0f} GiB, the machine has {memory() / 2**30:.0f}"


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and with."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "date": date.today().isoformat(),
        "processor": processor or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "memory GiB": round(memory() / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """Records as a Markdown table: medians, with their range, and their ratios to ours on the same work."""
    records = list(records)
    ours = {record["work"]: record for record in records if record["method"] == "ours"}
    rows = [_HEADER]
    for record in records:
        reference = ours.get(record["work"], {"seconds": [], "mib": []})
        quality = [f"{name} {_spread(values, _figure)}" for name, values in record["quality"].items()]
        rows.append(
            (
                record["work"],
                record["method"],
                _spread(record["seconds"], _plain),
                _ratio(record["seconds"], reference["seconds"]),
                _mebibytes(record["mib"]),
                _ratio(record["mib"], reference["mib"]),
                record["note"] or ", ".join(quality),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    form = "| {:<%d} | {:<%d} | {:>%d} | {:>%d} | {:>%d} | {:>%d} | {} |" % tuple(widths)  # noqa: UP031
    rule = ["-" * width for width in widths[:2]] + ["-" * (width - 1) + ":" for width in widths[2:]]
    return "\n".join(form.format(*row) for row in (_HEADER, (*rule, "-"), *rows[1:]))


def _measure(methods: Mapping[str, Prepare], request: dict[str, Any]) -> dict[str, Any]:
    """One method in this process: its seconds, its peak memory above idle, its figures."""
    arrays = {name: np.load(Path(request["out"], f"{name}.npy")) for name in request["arrays"]}
    try:
        work = methods[request["method"]](SimpleNamespace(**request, **arrays))
    except ModuleNotFoundError as error:
        if str(error.name).startswith("torchicon"):
            raise
        return {"note": f"skipped: {error.name} is not installed"}
    idle = _resident("VmRSS", reset=True)
    seconds: list[float] = []
    begin = start = time.perf_counter()
    while not seconds or (start - begin < _REPEAT_BELOW and len(seconds) < _MOST_REPEATS):
        found = dict(work())
        end = time.perf_counter()
        seconds.append(found.pop("seconds", end - start))
        if len(seconds) == 1:
            mib = _resident("VmHWM") - idle
        start = time.perf_counter()
    figures: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, np.ndarray):
            figures[name] = str(Path(request["out"], f"found-{name}.npy"))
            np.save(figures[name], value)
        else:
            figures[name] = float(value)
    return {"seconds": statistics.median(seconds), "mib": mib, "figures": figures}


def _resident(field: str, *, reset: bool = False) -> float:
    """Resident memory of this process in MiB, now (VmRSS) or at its peak (VmHWM) since the last reset; NaN off Linux.

    Not ru_maxrss, which a process on Linux inherits from the parent that started it.
    """
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return math.nan
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _run(request: dict[str, Any], record: dict[str, Any], judge: Judge) -> None:
    """One process of one method, added to its record."""
    count = str(request["threads"])
    limits = {f"{library}_NUM_THREADS": count for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    command = [sys.executable, sys.argv[0], "--child", json.dumps(request)]
    child = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **limits}, check=False)
    if child.returncode:
        said = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
        killed = child.returncode < 0
        record["note"] = f"failed: {f'killed by signal {-child.returncode}, out of memory?' if killed else said[-1]}"
        return
    seen = json.loads(child.stdout.splitlines()[-1])
    if "note" in seen:
        record["note"] = seen["note"]
        return
    figures = {name: np.load(value) if isinstance(value, str) else value for name, value in seen["figures"].items()}
    record["seconds"].append(seen["seconds"])
    record["mib"].append(seen["mib"])
    for name, value in judge(record["method"], figures).items():
        record["quality"].setdefault(name, []).append(value)


def _plain(value: float) -> str:
    digits = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def _mebibytes(values: list[float]) -> str:
    middle = statistics.median(values) if values else math.nan
    return "" if math.isnan(middle) else f"{middle:,.{0 if middle >= 10 else 1}f}"


def _figure(value: float) -> str:
    return f"{value:.5g}"


def _spread(values: list[float], write: Callable[[float], str]) -> str:
    """The median, and the range where there is one."""
    if not values:
        return ""
    low, middle, high = write(min(values)), write(statistics.median(values)), write(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def _ratio(values: list[float], reference: list[float]) -> str:
    if not values or not reference or not statistics.median(reference) > 0:
        return ""
    return f"{statistics.median(values) / statistics.median(reference):.2f}"
