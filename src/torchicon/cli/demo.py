"""`torchicon demo`: the main job on scikit-learn's handwritten digits, real images that need no network."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from torchicon.cli.cluster import summarize
from torchicon.cli.clustering import Request, cluster_into
from torchicon.cli.options import DebugOption, ForceOption, QuietOption
from torchicon.cli.output import WRITTEN
from torchicon.cli.reading import read
from torchicon.cli.run import reported
from torchicon.data import output_folder

EPILOG = """
[bold]Then by hand[/]

torchicon cluster demo/digits.npz -k 10 --labels digit -o mine
"""
_FILE = "digits.npz"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = Path("demo"),
    force: ForceOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Cluster and map 1,797 handwritten digits, and compare with their labels afterwards.

    DIR gets what `torchicon cluster` writes, and the digits themselves as digits.npz.
    It takes under a minute.
    """
    with reported(quiet=quiet, debug=debug) as run:
        with output_folder(output, force=force, known=WRITTEN) as folder:
            np.savez_compressed(folder / _FILE, **_digits())
            table = read(run, folder / _FILE, labels="digit", config=None)
            request = Request(
                clusters=10,
                seed=0,
                preset="default",
                with_map=True,
                command=shlex.join(["torchicon", "demo", "-o", str(output)]),
                arguments={
                    "file": _FILE,
                    "clusters": 10,
                    "labels": "digit",
                    "seed": 0,
                    "threads": 1,
                    "preset": "default",
                    "no_map": False,
                },
            )
            metrics = cluster_into(folder, run, table, request)
        summarize(run, metrics, output)


def _digits() -> dict[str, Any]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 0 (paper) to 16 (ink): reversed and stretched, so that they look as written
    images = np.rint(255 * (1 - digits.images / 16)).astype(np.uint8)
    return {"X": digits.data.astype(np.float32), "images": images, "digit": digits.target}
