"""`torchicon train`: an encoder by any row of the table that a batch can feed, with a report on it."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from torchicon.cli.options import DataOption, DebugOption, ForceOption, QuietOption, SetOption
from torchicon.cli.run import Run, reported
from torchicon.data import DataError

EPILOG = """
[bold]Examples[/]

torchicon train simclr --data photos/ -o run

torchicon train moco-v3 --data cifar10.parquet --labels label --set epochs=200 --set lr=0.1 -o run

torchicon train --resume -o run

torchicon train --config run/config.json -o again
"""


def train(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="A row of `torchicon methods`.", show_default=False)
    ] = None,
    data: DataOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; it fills while the run goes on."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="COLUMN",
            help='Column with known labels ("folder" for class folders). Unsupervised methods never see them.',
            show_default=False,
        ),
    ] = None,
    mapper: Annotated[
        str | None,
        typer.Option("--mapper", metavar="NAME", help="Such as resnet18, or a transformers model.", show_default=False),
    ] = None,
    test: Annotated[
        str | None, typer.Option("--test", metavar="SOURCE", help="Labeled data to be scored on.", show_default=False)
    ] = None,
    assign: SetOption = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="A .toml or .json file, or a run's config.json; flags win."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in DIR, exactly where it was.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of everything random.", show_default=False)] = None,
    devices: Annotated[int | None, typer.Option("--devices", min=1, help="Of each node.", show_default=False)] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Machines that share a batch.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of the CPU; all when omitted.", show_default=False)
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train an encoder on images or features, and write a report on what it learned.

    DIR gets report.html; encoder.safetensors and encoder.json; metrics.csv, evaluations.csv,
    tensorboard/ and checkpoints/ while it runs; scores.json; and config.json, which runs it again.

    A run that was interrupted goes on with --resume, and ends as if it had not been.
    """
    with reported(quiet=quiet, debug=debug, threads=threads or os.cpu_count() or 1) as run:
        if output is None:
            raise DataError("there is no folder to write to", "-o", "Give -o DIR.")
        given = {
            "data": data, "labels": labels, "mapper": mapper, "test": test, "seed": seed, "devices": devices,
            "nodes": nodes, "threads": threads,
        }  # fmt: skip
        said = {name: value for name, value in given.items() if value is not None}
        _train(run, method, output, said, assign or [], config=config, resume=resume, force=force)


def _train(
    run: Run,
    method: str | None,
    output: Path,
    given: dict[str, Any],
    assign: list[str],
    *,
    config: Path | None,
    resume: bool,
    force: bool,
) -> None:
    from torchicon.cli.training import asked, bar, finish
    from torchicon.training import train as train_encoder
    from torchicon.training.folder import is_main, remove_run
    from torchicon.training.reading import data_of

    wanted = asked(method, output, given, assign, config=config, resume=resume)
    run.quiet = run.quiet or not is_main()
    with run.step("reading"):
        samples, test = data_of(wanted)
    for note in samples.notes:
        run.note(note)
    run.print(
        f"{len(samples)} samples in batches of {wanted.batch_of(len(samples))}, {wanted.epochs} epochs. "
        f"Every step is in {output / 'metrics.csv'}."
    )
    if force and not resume and is_main():
        remove_run(output)
    with run.step("training", own_bar=True), bar(run) as tell:
        train_encoder(wanted, output, data=(samples, test), resume=resume, tell=tell)
    if not is_main():
        return
    command = shlex.join(["torchicon", "train", "--config", str(output / "config.json"), "-o", "DIR"])
    finish(run, wanted, output, samples, test, command=command)
    for note in run.notes:
        run.print(f"Note: {note}")
    run.print(f"Report: {output / 'report.html'}")
