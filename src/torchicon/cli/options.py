"""The options that several commands share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from torchicon.cli.config import take_defaults

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Features or pictures: .npy, .npz, .csv, .tsv, .parquet, .safetensors, or a folder of images.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write. It appears only when it is complete.")
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="COLUMN",
        help='Column or array with known labels ("folder" for images in class folders). Used only to compare.',
        show_default=False,
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1, help="The same seed on the same data gives the same result.")
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=1, help="More are faster on large data, but can change the result.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="A folder of images, .parquet, .npz or .npy, or a Hugging Face data set.",
        show_default=False,
    ),
]
RunDataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="SOURCE", help="The run's own data when omitted.", show_default=False),
]
SplitOption = Annotated[
    str, typer.Option("--split", metavar="NAME", help="Of --data, where that is a Hugging Face data set.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Anything else, such as lr=0.1 or temperature=0.2."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace DIR, if torchicon wrote it.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=take_defaults,
        help="The config.json of an earlier run, to run it again. Arguments given beside it win.",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
