"""Train every method of the periodic table on the digits, for the pictures that `torchicon table -o` shows.

    python experiments/periodic_table.py                # resumes: rows that have not changed keep their pictures
    python experiments/periodic_table.py --only SimCLR --force

Each method leaves one small file in ``build/pictures``; in the end all are packed into one, which the package ships.
All methods of a kind (`torchicon.methods.problems`) are trained by the same recipe, on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from pictures import digits
from pictures.scene import Scene
from pictures.showing import show
from pictures.training import FlatError, PinnedError, fit

from torchicon import TABLE, Method
from torchicon.cli.snippet import snippet
from torchicon.methods.verify import check
from torchicon.viz.pictures import pack_pictures, unpack_pictures

ROOT = Path(__file__).resolve().parents[1]
PARTS, PACKED = ROOT / "build" / "pictures", ROOT / "src" / "torchicon" / "cli" / "gallery.json"
SEED, PER_CLASS = 0, 40
RECIPE = (
    "Maps and clusterings: 400 of scikit-learn's handwritten digits, 300 steps of Adam on a table of places or a "
    "linear map to ten clusters. Networks: 1,397 digits, 400 steps, 256 augmented rows a step, two hidden layers of "
    "128, an embedding of three dimensions, standardized over the batch up to a learned gain, pictured on 400 digits "
    "held out. The same for every method of a kind, seed 0, labels only where a method asks for them."
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train only these methods")
    parser.add_argument("--force", action="store_true", help="train again what is done already")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    PARTS.mkdir(parents=True, exist_ok=True)
    wanted = None if chosen.only is None else {name.casefold() for name in chosen.only}
    for method in TABLE:
        if wanted is None or method.name.casefold() in wanted:
            train_one(method, PARTS / f"{slug(method.name)}.json", force=chosen.force)
    pack([PARTS / f"{slug(method.name)}.json" for method in TABLE], PACKED)


def train_one(method: Method, path: Path, *, steps: int | None = None, force: bool = False) -> None:
    """Write a method's picture, unless it is there already and the row has not changed since."""
    mark = fingerprint(method)
    if not force and path.exists() and json.loads(path.read_text(encoding="utf-8"))["fingerprint"] == mark:
        return
    start = time.perf_counter()
    record = {"name": method.name, "fingerprint": mark, "date": datetime.now(UTC).date().isoformat()}
    try:
        record |= picture_of(method, steps)
    except (FlatError, PinnedError, LookupError) as reason:
        record["without"] = str(reason)
    seen = check(method)
    measured = {"value": seen.value_error, "gradient": seen.gradient_error, "order": seen.order}
    record["evidence"] = {key: number for key, number in measured.items() if number is not None and number < math.inf}
    record["seconds"] = round(time.perf_counter() - start, 1)
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    outcome = f"{record['metric']} {record['value']:.1%}" if "metric" in record else record["without"]
    print(f"{method.name:<50} {record['seconds']:>5} s  {outcome}", flush=True)


def picture_of(method: Method, steps: int | None = None) -> dict[str, object]:
    """What is recorded of a trained method."""
    scene = Scene(method, digits.load(PER_CLASS, SEED), torch.Generator().manual_seed(SEED))
    first, last = fit(method, scene, steps)
    shown = show(scene)
    arrays, packed = pack_pictures({method.name: shown.picture})
    return {
        "arrays": arrays,
        "picture": packed[method.name],
        "metric": shown.metric,
        "value": round(shown.value, 4),
        "loss": [first, last],
    }


def pack(paths: list[Path], target: Path) -> None:
    """One file of all that is there, arrays that several pictures share kept once."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    pictures = {}
    for record in records:
        if "picture" in record:
            pictures |= unpack_pictures(record["arrays"], {record["name"]: record["picture"]})
    arrays, packed = pack_pictures(pictures)
    kept = ("metric", "value", "without", "evidence", "date")
    gallery = {
        "made": {
            "by": "python experiments/periodic_table.py",
            "recipe": RECIPE,
            "dates": sorted({record["date"] for record in records}),
            "versions": {name: version(name) for name in ("torch", "numpy", "scikit-learn")},
        },
        "arrays": arrays,
        "methods": {
            record["name"]: {key: record[key] for key in kept if key in record}
            | ({"picture": packed[record["name"]]} if record["name"] in packed else {})
            for record in records
        },
    }
    text = json.dumps(gallery, ensure_ascii=False, separators=(",", ":"))
    target.write_text(text.replace('"arrays":', '\n"arrays":').replace('"methods":', '\n"methods":') + "\n", "utf-8")
    print(f"{len(packed)} pictures of {len(records)} methods, {len(text) / 1000:.0f} kB: {target.relative_to(ROOT)}")


def fingerprint(method: Method) -> str:
    """Of a method's code and of the recipe, so that a change of either is seen."""
    recipe = [path.read_bytes() for path in sorted((Path(__file__).parent / "pictures").glob("*.py"))]
    said = "\n".join([snippet(method), ",".join(method.learns), getattr(method.example, "__name__", "")])
    return hashlib.sha256(b"\n".join([said.encode(), *recipe])).hexdigest()[:16]


def slug(name: str) -> str:
    """A file's name for a method's."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold().replace("+", " plus").replace("₀", "0")).strip("-")


if __name__ == "__main__":
    main()
