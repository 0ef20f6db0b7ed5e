"""`torchicon cluster`: groups of rows that belong together, found without labels, and a report on them."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table as Grid

from torchicon.cli.clustering import Preset, Request, choices, cluster_into
from torchicon.cli.options import (
    ConfigOption,
    DebugOption,
    FileArgument,
    ForceOption,
    LabelsOption,
    OutputOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
)
from torchicon.cli.output import results_in
from torchicon.cli.reading import read, readable
from torchicon.cli.run import Run, reported

EPILOG = """
[bold]Examples[/]

torchicon cluster features.npy -k 10 -o out

torchicon cluster flowers.csv -k 3 --labels species -o out

torchicon cluster photos/ -k 20 --seed 1 -o out

torchicon cluster --config out/config.json -o again
"""


def cluster(
    file: FileArgument,
    clusters: Annotated[
        int, typer.Option("--clusters", "-k", min=2, help="How many clusters to find.", show_default=False)
    ],
    output: OutputOption,
    labels: LabelsOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    preset: Annotated[
        Preset, typer.Option("--preset", help="torchicon's defaults, or the recipe that the I-Con paper prints.")
    ] = "default",
    no_map: Annotated[
        bool, typer.Option("--no-map", help="Skip t-SNE: the report then shows the two principal components.")
    ] = False,
    config: ConfigOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Cluster rows or images without labels, and write a report to look at.

    DIR gets report.html, a map to explore and the members of each cluster;
    assignments.parquet, metrics.json, model/; and config.json, which runs it again.

    With --labels, the clusters are compared with what is known, beside K-Means.
    Labels never touch the clustering.
    """
    arguments = {
        "file": readable(str(file.resolve())),
        "clusters": clusters,
        "labels": labels,
        "seed": seed,
        "threads": threads,
        "preset": preset,
        "no_map": no_map,
    }
    command = ["torchicon", "cluster", str(file), "-k", str(clusters), "--seed", str(seed)]
    command += ["--threads", str(threads)] if threads != 1 else []
    command += ["--labels", labels] if labels is not None else []
    command += ["--preset", preset] if preset != "default" else []
    command += ["--no-map", "-o", str(output)] if no_map else ["-o", str(output)]
    with reported(quiet=quiet, debug=debug, threads=threads) as run:
        with results_in(output, force=force, source=file) as folder:
            table = read(run, file, labels=labels, config=config)
            request = Request(
                clusters=clusters,
                seed=seed,
                preset=preset,
                with_map=not no_map,
                command=shlex.join(command),
                arguments=arguments,
            )
            metrics = cluster_into(folder, run, table, request)
        summarize(run, metrics, output)


def summarize(run: Run, metrics: dict[str, Any], output: Path) -> None:
    """Print what was found, and where the report is."""
    sizes = sorted(metrics["sizes"], reverse=True)
    shown = ", ".join(map(str, sizes)) if len(sizes) <= 20 else f"{sizes[0]} down to {sizes[-1]}"
    run.print(f"{metrics['rows']} rows in {metrics['clusters']} clusters of {shown}")
    for choice in choices(metrics["notes"]):
        run.print(choice)
    run.print(f"Median confidence: {_percent(metrics['confidence']['median'])}")
    if "scores" in metrics:
        run.print("Agreement with the labels:")
        grid = Grid("", "torchicon", "K-Means", box=SIMPLE_HEAD)
        for key, name in (("accuracy", "accuracy"), ("nmi", "NMI"), ("ari", "ARI")):
            grid.add_row(name, _percent(metrics["scores"][key]), _percent(metrics["k_means"]["scores"][key]))
        run.print(grid)
    for note in run.notes:
        run.print(f"Note: {note}")
    run.print(f"Report: {output / 'report.html'}")


def _percent(share: float) -> str:
    """A percentage that says 100% only when it is exactly that, as in the report."""
    text = f"{share:.1%}"
    return "> 99.9%" if share < 1 and text == "100.0%" else text
