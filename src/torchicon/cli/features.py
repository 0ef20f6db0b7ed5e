"""`torchicon features`: what an encoder makes of data, as an array that `cluster` and `embed` read."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch.nn import functional

from torchicon.cli.options import DebugOption, QuietOption, RunDataOption, SplitOption, ThreadsOption
from torchicon.cli.run import reported
from torchicon.data import DataError

EPILOG = """
[bold]Examples[/]

torchicon features run --data photos/ -o features.npz

torchicon features --model facebook/dinov2-base --data photos/ -o features.npz --labels folder

torchicon cluster features.npz -k 10 --labels label -o clusters
"""

_PICTURES, _SIDE = 50_000, 48  # pictures that go into a file, and their pixels a side


def features(
    folder: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Folder of a `torchicon train`.", show_default=False)
    ] = None,
    data: RunDataOption = None,
    split: SplitOption = "train",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A .npz file, or .npy for the features alone.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A transformers model, by id or folder.", show_default=False),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="COLUMN", help="To go into a .npz file.", show_default=False)
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", min=8, help="Pixels a side; the run's, or 224 for --model.", show_default=False),
    ] = None,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the features of every sample, (n, d) in float32, in the order of the data.

    A .npz file holds X, the samples' names, small pictures of up to 50,000 of them, and the labels where there are any:
    `torchicon cluster` and `torchicon embed` show them.
    """
    with reported(quiet=quiet, debug=debug, threads=threads) as run:
        from torchicon.data.samples import read_samples
        from torchicon.data.write import atomic
        from torchicon.training.encoder import Encoder
        from torchicon.training.features import features_of
        from torchicon.training.folder import read_run
        from torchicon.training.reading import device_of

        if output is None or output.suffix not in (".npy", ".npz"):
            raise DataError("names no .npy or .npz file", "-o", "Give -o features.npy.")
        if (folder is None) == (model is None):
            raise DataError("needs a RUN or a --model, and not both", "torchicon features", "Give one of them.")
        config = None if folder is None else read_run(folder)
        source = data or (None if config is None else config.data)
        if source is None:
            raise DataError("there is nothing to take features of", "--data", "Give --data SOURCE.")
        asked: dict[str, Any] = {"labels": labels, "split": split}
        if config is not None and data is None:
            asked = {"labels": labels or config.labels, "split": config.split, "limit": config.limit}
        with run.step("reading"):
            pixels = size or (224 if config is None else config.image_size)
            samples = read_samples(source, size=pixels, **asked)
        for note in samples.notes:
            run.note(note)
        with run.step("features"):
            encoder = (
                Encoder({"mapper": model, "image_size": pixels}) if folder is None else Encoder.from_pretrained(folder)
            )
            device = device_of()
            made = features_of(encoder.to(device), samples, device=device)
        arrays: dict[str, Any] = {"X": made}
        if samples.labels is not None:
            arrays["label"] = np.array([*samples.classes, ""])[samples.labels]
        arrays["name"] = np.array(samples.names)
        if samples.pixels is not None and len(samples) <= _PICTURES:
            arrays["images"] = _thumbnails(samples.pixels)
        with atomic(output) as temporary, temporary.open("wb") as file:
            np.save(file, made) if output.suffix == ".npy" else np.savez(file, **arrays)
        for note in run.notes:
            run.print(f"Note: {note}")
        run.print(f"{made.shape[0]} x {made.shape[1]} features: {output}")


def _thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (n, 3, h, w) as (n, side, side, 3), no larger than a report shows them."""
    if pixels.shape[3] > _SIDE:
        parts = (torch.from_numpy(np.array(part)).float() for part in np.array_split(pixels, len(pixels) // 1000 + 1))
        small = [functional.interpolate(part, (_SIDE, _SIDE), mode="area").round().byte().numpy() for part in parts]
        pixels = np.concatenate(small)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
