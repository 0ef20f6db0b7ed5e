"""`torchicon evaluate`: how good the encoder of a run is on data of your choice."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table as Grid

from torchicon.cli.options import DebugOption, QuietOption
from torchicon.cli.run import reported

EPILOG = """
[bold]Examples[/]

torchicon evaluate run

torchicon evaluate run --data test.parquet --labels label -o scores.json
"""


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a `torchicon train`.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="SOURCE", help="What to score on; the run's own data when omitted.", show_default=False
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="COLUMN", help="Of both; the run's own when omitted.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A JSON file for the scores.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of the CPU.")] = 1,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Score a trained encoder: nearest neighbors, linear probes, clusters, and what can be said without labels.

    Probes and neighbors learn from the data that the run was trained on.
    Without --data, every fifth of those is asked about, and the others answer.
    """
    with reported(quiet=quiet, debug=debug, threads=threads) as run:
        from torchicon.data import write_json
        from torchicon.data.samples import read_samples
        from torchicon.training.encoder import Encoder
        from torchicon.training.evaluate import thorough
        from torchicon.training.folder import read_run
        from torchicon.training.run import data_of, device_of

        config = read_run(folder)
        device = device_of(config.accelerator)
        encoder = Encoder.from_pretrained(folder).to(device)
        column = labels or config.labels
        with run.step("reading"):
            samples, test = data_of(config, labels=column)
            if data is not None:
                test = read_samples(data, size=config.image_size, labels=column)
        with run.step("evaluating"):
            scores = thorough(encoder, samples, test, policy=config.view_policy(), seed=config.seed, device=device)
        if output is not None:
            write_json(output, scores | {"command": shlex.join(["torchicon", "evaluate", str(folder)])})
        grid = Grid("", "", box=SIMPLE_HEAD)
        for name, value in scores.items():
            grid.add_row(name.replace("_", " "), f"{value:.4g}")
        run.print(grid)
        for note in run.notes:
            run.print(f"Note: {note}")
