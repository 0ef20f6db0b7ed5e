"""Put what `encoders.py` has measured into the documentation's pages of recipes: a figure and a table each.

    python experiments/recipe_pages.py

A page says where, by ``<!-- measured: RECIPE -->`` and ``<!-- end -->``; what stands between them is replaced.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

from encoders import CIFAR, MNIST, RECIPES, name_of

HERE = Path(__file__).resolve().parent
PAGES = HERE.parent / "docs" / "recipes"
_HEAD = """# Recipes

kNN accuracy in % on test pictures, learned from 4,000 others with a small residual network on two cores; medians over
the seeds, gains in points. SupCon learns from the labels, the others do not.
"""
_COLUMNS = """
| recipe | seeds | epochs | untrained | trained | gain | linear |
|---|---|---|---|---|---|---|
"""
_ON = {
    CIFAR: "CIFAR-10, on which the recipes' learning rates and epochs were chosen; 2,000 test pictures:",
    MNIST: "MNIST, on which nothing was chosen, with the same settings and views; 1,000 test\n"
    "pictures (`python experiments/encoders.py --mnist`). Gray pictures have no colors for CLIP to learn from:",
}
_PLACE = re.compile(r"<!-- measured: (?P<recipe>.+?) -->\n.*?<!-- end -->", re.DOTALL)


def measured(runs: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """Figure and table of a recipe."""
    recipe, config = runs[0]["recipe"], runs[0]["config"]
    seeds = " ".join(str(run["seed"]) for run in runs)
    lines = [
        f"![{recipe}: accuracy over the epochs, and a map of the features]({name_of(recipe)}.png)",
        "",
        f"4,000 pictures of CIFAR-10 (JPEG of quality 75), {runs[0]['epochs']} epochs, a residual network of 10 layers",
        f"(`mapper=resnet10`, `width={config['width']}`); accuracy in % of kNN (k = 200) and of a linear probe by SGD",
        "on 2,000 test pictures:",
        "",
        "| seed | kNN untrained | kNN trained | gain in points | linear trained | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        before, after = 100 * run["untrained"], 100 * run["trained"]
        linear, minutes = 100 * run["linear"], run["minutes"]
        lines.append(f"| {run['seed']} | {before:.1f} | {after:.1f} | {gain(run):.1f} | {linear:.1f} | {minutes:.1f} |")
    lines += [
        "",
        "`python experiments/encoders.py --data cifar10-train.parquet --test cifar10-test.parquet",
        f"--recipes '{recipe}' --seeds {seeds}`, {runs[-1]['date']},",
        f"{machine['threads']} threads of an {machine['processor']}. Minutes include the evaluations; several",
        "of the runs shared the machine with other programs.",
    ]
    return "\n".join(lines)


def gain(run: dict[str, Any]) -> float:
    """In points, as the rounded accuracies have it."""
    return round(100 * run["trained"], 1) - round(100 * run["untrained"], 1)


def summary(runs: list[dict[str, Any]], page: str) -> str:
    """A line of the table of all recipes: medians over the seeds, and all gains."""
    before, after, linear = (
        100 * statistics.median(run[key] for run in runs) for key in ("untrained", "trained", "linear")
    )
    gains = [gain(run) for run in runs]
    spread = f"{min(gains):.1f}" if len(runs) == 1 else f"{min(gains):.1f} to {max(gains):.1f}"
    cells = (f"[{runs[0]['recipe']}]({page})", len(runs), runs[0]["epochs"], f"{before:.1f}", f"{after:.1f}", spread)
    return f"| {' | '.join(map(str, cells))} | {linear:.1f} |"


def main() -> None:
    """Fill every page whose recipe is recorded."""
    content = json.loads((HERE / "results" / "encoders.json").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {CIFAR: [], MNIST: []}
    for recipe in RECIPES:
        of_recipe = [run for run in content["runs"] if run["recipe"] == recipe]
        runs, others = (
            sorted((run for run in of_recipe if run["data"] == data), key=lambda run: run["seed"])
            for data in (CIFAR, MNIST)
        )
        for page in PAGES.glob("*.md"):
            text = page.read_text(encoding="utf-8")
            place = _PLACE.search(text)
            if place is None or place["recipe"] != recipe or not runs:
                continue
            block = f"<!-- measured: {recipe} -->\n{measured(runs, content['machine'])}\n<!-- end -->"
            page.write_text(text[: place.start()] + block + text[place.end() :], encoding="utf-8")
            shutil.copyfile(HERE / "figures" / "encoders" / f"{name_of(recipe)}.png", PAGES / f"{name_of(recipe)}.png")
            for data, measurements in ((CIFAR, runs), (MNIST, others)):
                found[data] += [summary(measurements, page.name)] if measurements else []
    tables = [f"\n{_ON[data]}\n{_COLUMNS}" + "\n".join(rows) + "\n" for data, rows in found.items() if rows]
    (PAGES / "index.md").write_text(_HEAD + "".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
