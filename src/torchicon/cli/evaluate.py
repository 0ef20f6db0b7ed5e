"""`torchicon evaluate`: how good the encoder of a run is on data of your choice."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from torchicon.cli.options import DebugOption, QuietOption, RunDataOption, SplitOption, ThreadsOption
from torchicon.cli.run import reported

EPILOG = """
[bold]Examples[/]

torchicon evaluate run

torchicon evaluate run --data test.parquet --labels label -o scores.json
"""


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a `torchicon train`.", show_default=False)],
    data: RunDataOption = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="COLUMN", help="Of both; the run's own when omitted.", show_default=False),
    ] = None,
    split: SplitOption = "train",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A JSON file for the scores.")
    ] = None,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Score a trained encoder: nearest neighbors, linear probes, clusters, and what can be said without labels.

    Probes and neighbors learn from the data that the run was trained on, and are asked about --data.
    Without --data a fifth of the run's own is asked about, and the others answer.
    If the run knew no labels, so it is within --data.
    """
    with reported(quiet=quiet, debug=debug, threads=threads) as run:
        from torchicon.cli.training import score_table
        from torchicon.data import write_json
        from torchicon.training.encoder import Encoder
        from torchicon.training.evaluate import thorough
        from torchicon.training.folder import read_run
        from torchicon.training.reading import data_of, device_of

        config = read_run(folder)
        if data is not None and config.labels is None:  # nothing of the run's own has labels to learn from
            asked: dict[str, Any] = {
                "data": data,
                "split": split,
                "limit": None,
                "test": None,
                "text": None,
                "metadata": None,
            }
        else:
            asked = {} if data is None else {"test": data, "test_split": split}
        config = replace(config, labels=labels or config.labels, **asked)
        device = device_of(config.accelerator)
        encoder = Encoder.from_pretrained(folder).to(device)
        with run.step("reading"):
            samples, test = data_of(config)
        for note in (samples if test is None else test).notes:
            run.note(note)
        with run.step("evaluating"):
            scores = thorough(encoder, samples, test, policy=config.view_policy(), seed=config.seed, device=device)
        if output is not None:
            options = {"--data": data, "--split": split if data else None, "--labels": labels, "-o": str(output)}
            given = [word for name, value in options.items() if value is not None for word in (name, value)]
            write_json(output, scores | {"command": shlex.join(["torchicon", "evaluate", str(folder), *given])})
        run.print(score_table(scores))
        for note in run.notes:
            run.print(f"Note: {note}")
