"""The commands under one roof."""

import sys
from typing import Any

import typer

from torchicon._version import __version__
from torchicon.cli import cluster, demo, embed, evaluate, features, methods, sweep, table, train, verify

app = typer.Typer(
    help="I-Con for PyTorch: clusters, maps and losses from one equation, the KL divergence between neighborhoods.",
    epilog="Start with [bold]torchicon demo[/].\n\n"
    "Exit codes: 0 done, 1 a claim or torchicon itself failed, 2 bad usage or input, 130 Ctrl-C.",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog=demo.EPILOG)(demo.demo)
app.command(epilog=cluster.EPILOG)(cluster.cluster)
app.command(epilog=embed.EPILOG)(embed.embed)
app.command(epilog=train.EPILOG)(train.train)
app.command(epilog=sweep.EPILOG)(sweep.sweep)
app.command(epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command(epilog=features.EPILOG)(features.features)
app.command(epilog=methods.METHODS_EPILOG)(methods.methods)
app.command(epilog=table.EPILOG)(table.table)
app.command(epilog=methods.CITE_EPILOG)(methods.cite)
app.command()(verify.verify)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without Greek letters shows a question mark, not a traceback
    app()
