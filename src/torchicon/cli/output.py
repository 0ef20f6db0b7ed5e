"""The folder that a run writes: refused before any work when it cannot be, and there only when it is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchicon.data import DataError, output_folder

# What our runs write; a folder that holds anything else is not replaced.
WRITTEN = (
    "config.json",
    "metrics.json",
    "model",
    "report.html",
    "assignments.parquet",
    "map.parquet",
    "digits.npz",
)


@contextmanager
def results_in(output: Path, *, force: bool, source: Path) -> Iterator[Path]:
    """`torchicon.data.output_folder`, for results that are made from ``source``.

    Raises:
        DataError: as `output_folder`, or replacing the folder would delete the source.
    """
    if force and source.resolve().is_relative_to(output.resolve()):
        raise DataError(
            f"holds the input {source}, which replacing the folder would delete", output, "Name another output folder."
        )
    with output_folder(output, force=force, known=WRITTEN) as folder:
        yield folder
