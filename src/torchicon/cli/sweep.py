"""`torchicon sweep`: many trainings with drawn settings, of which the poor ones are stopped early."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table as Grid

from torchicon.cli.options import DebugOption, QuietOption, SetOption
from torchicon.cli.run import reported

EPILOG = """
[bold]Examples[/]

torchicon sweep simclr --data photos/ --trials 20 -o sweep

torchicon sweep "kernel-infonce sum of losses" --data cifar.parquet --search lr=0.1:1 --set epochs=50 -o sweep

torchicon train --config sweep/best.json -o run
"""


def sweep(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A row of `torchicon methods`.", show_default=False)],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="As for train.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="An empty folder, or one to be made.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many settings are tried.")] = 20,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="KEY=LOW:HIGH", help="A range; lr, temperatures and shares have one."),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", help="What is to be large. The default needs no labels.")
    ] = "effective_rank",
    address: Annotated[
        str | None, typer.Option("--address", help="Of a Ray cluster; local when omitted.", show_default=False)
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="COLUMN", help="As for train.", show_default=False)
    ] = None,
    assign: SetOption = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of each trial.")] = 1,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Search the settings of a method with Ray Tune, and write the best as a config.

    DIR gets trials/ with a run of each, sweep.json with all of them, and best.json for `torchicon train --config`.
    """
    with reported(quiet=quiet, debug=debug, threads=threads) as run:
        from torchicon.training import TrainConfig
        from torchicon.training.parsing import assignments
        from torchicon.training.sweep import space_of
        from torchicon.training.sweep import sweep as search_for

        given = assignments(assign or [])
        config = TrainConfig.of(method, data=data, labels=labels, threads=threads, **given)
        space = space_of(method, assignments(search or []))
        with run.step("sweep"):
            rows = search_for(config, output, space=space, trials=trials, metric=metric, address=address)
        grid = Grid(*space, metric.replace("_", " "), "steps", box=SIMPLE_HEAD)
        for row in rows[:10]:
            grid.add_row(*(f"{row[name]:.3g}" for name in space), f"{row[metric]:.4g}", str(row["step"]))
        run.print(grid)
        run.print(f"Train with the best: torchicon train --config {output / 'best.json'} -o DIR")
