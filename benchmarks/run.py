"""All benchmarks at sizes that suit two cores: ``make bench``.

    python benchmarks/run.py                            # tables as they come
    python benchmarks/run.py --markdown > table.md      # machine and one table, as README.md holds them
    python benchmarks/run.py --only infonce tsne --runs 5 --json all.json
    python benchmarks/run.py --only --with *.json --markdown   # of what scripts run by hand have kept

The large ones are run by hand; each script says how.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import machine, table

HERE = Path(__file__).parent
LINES = {
    "infonce": [],
    "clustering_step": [],
    "kmeans": [],
    "normalized_cuts": [],
    "neighbors": [],
    "tsne": [],
    "growth": ["--first", "8192", "--runs", "1"],
}


def described(found):
    """The machine in a sentence."""
    packages = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"Recorded on {found['date']}: {found['processor']}, {found['cores']} cores, {found['threads']} threads, "
        f"{found['memory GiB']} GiB, {found['system']}; Python {found['python']}, {packages}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=LINES, default=list(LINES))
    parser.add_argument("--runs", type=int, default=3, help="processes of each method (default 3; growth: 1)")
    parser.add_argument("--markdown", action="store_true", help="print the machine and one table, at the end")
    parser.add_argument(
        "--with",
        dest="kept",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="measurements kept by --json, to stand before the others",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all single measurements here")
    arguments = parser.parse_args()
    results = [record for file in arguments.kept for record in json.loads(file.read_text(encoding="utf-8"))["results"]]
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            kept = Path(folder, f"{name}.json")
            print(f"== {name}", file=sys.stderr, flush=True)
            command = [sys.executable, str(HERE / f"{name}.py"), "--runs", str(arguments.runs), *LINES[name]]
            done = subprocess.run(
                [*command, "--json", str(kept)], stdout=sys.stderr if arguments.markdown else None, check=False
            )
            if done.returncode:
                failed.append(name)
            if kept.exists():
                results += json.loads(kept.read_text(encoding="utf-8"))["results"]
    # Growth starts where another script ends: of two measurements of one line the first stands.
    first: dict[tuple[str, str], dict] = {}
    for record in results:
        first.setdefault((record["work"], record["method"]), record)
    results = list(first.values())
    if arguments.markdown:
        print(described(machine()), table(results), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
