"""`torchicon embed`: a map of the data, and a report to explore it in."""

import shlex
from typing import Annotated, Any

import typer

from torchicon._version import versions
from torchicon.cli import config as configs
from torchicon.cli.mapping import fit_map, fit_method
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
from torchicon.cli.outside import WithOption, find_or_exit, methods_of
from torchicon.cli.reading import read, readable
from torchicon.cli.run import reported
from torchicon.data import write_json, write_parquet

EPILOG = """
[bold]Examples[/]

torchicon embed features.npy -o map

torchicon embed flowers.csv --labels species -o map

torchicon embed photos/ --perplexity 50 --method SNE -o map
"""
# Methods with an estimator of their own; the others train a small network by the equation.
_ENGINES = {"t-SNE": "TSNE", "SNE": "SNE"}


def embed(
    file: FileArgument,
    output: OutputOption,
    method: Annotated[
        str,
        typer.Option("--method", metavar="NAME", help="t-SNE, SNE, or another method of the table that maps points."),
    ] = "t-SNE",
    outside: WithOption = None,
    perplexity: Annotated[
        float | None,
        typer.Option(
            "--perplexity",
            min=1.0,
            help="How many neighbors a row has, in effect.",
            show_default="30, fewer for few rows",
        ),
    ] = None,
    labels: LabelsOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    config: ConfigOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Make a map of rows or images, where neighbors stand together, and a report to explore.

    DIR gets report.html, map.parquet with the coordinates, metrics.json, model/;
    and config.json, which runs it again.

    With --labels, the map is colored by them. They never touch its making.
    """
    arguments = {
        "file": readable(str(file.resolve())),
        "method": method,
        "outside": None if outside is None else str(outside.resolve()),
        "perplexity": perplexity,
        "labels": labels,
        "seed": seed,
        "threads": threads,
    }
    command = ["torchicon", "embed", str(file), "--method", method, "--seed", str(seed)]
    command += ["--with", str(outside)] if outside is not None else []
    command += ["--perplexity", str(perplexity)] if perplexity is not None else []
    command += ["--threads", str(threads)] if threads != 1 else []
    command += ["--labels", labels] if labels is not None else []
    command += ["-o", str(output)]
    with reported(quiet=quiet, debug=debug, threads=threads) as run:
        chosen = find_or_exit([method], methods_of(outside))
        if perplexity is not None and chosen.name not in _ENGINES:
            raise ValueError(f"--perplexity is for {' and '.join(_ENGINES)}; {chosen.name} has its own neighbors.")
        with results_in(output, force=force, source=file) as folder:
            table = read(run, file, labels=labels, config=config)
            with run.step("mapping", own_bar=True):
                if chosen.name in _ENGINES:
                    engine = _ENGINES[chosen.name]
                    model = fit_map(run, table.source, table.features, perplexity=perplexity, seed=seed, engine=engine)
                    loss, iterations = model.kl_divergence_, model.n_iter_
                else:
                    model = fit_method(run, table.source, table.features, method=chosen, seed=seed)
                    loss, iterations = model.loss_, model.epochs
            with run.step("writing"):
                from torchicon.viz import write_map_report

                settings = configs.settings(model)
                metrics: dict[str, Any] = {
                    "rows": len(table.features),
                    "loss": loss,
                    "iterations": iterations,
                    "seconds": dict(run.timings),
                    "notes": run.notes,
                }
                columns = {"row": table.row_names, "x": model.embedding_[:, 0], "y": model.embedding_[:, 1]}
                if table.labels is not None:
                    columns["label"] = table.labels
                model.save_pretrained(folder / "model")
                write_parquet(folder / "map.parquet", columns)
                write_json(folder / "metrics.json", metrics)
                write_json(folder / "config.json", configs.make("embed", arguments, table, settings))
                write_map_report(
                    folder / "report.html",
                    coordinates=model.embedding_,
                    title=f"A map of {table.source.name}",
                    command=shlex.join(command),
                    settings={"data": table.source.name, "labels": table.label_name, **settings},
                    notes=run.notes,
                    timings=metrics["seconds"],
                    seed=seed,
                    versions=versions(*configs.SOFTWARE),
                    labels=table.labels,
                    images=table.images,
                    row_names=table.row_names,
                )
        run.print(f"{metrics['rows']} rows on a map; loss of {chosen.name}: {loss:.4f} nats")
        for note in run.notes:
            run.print(f"Note: {note}")
        run.print(f"Report: {output / 'report.html'}")
