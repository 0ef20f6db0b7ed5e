"""The first step of every run: the user's file as a table."""

from dataclasses import replace
from pathlib import Path

from torchicon.cli import config as configs
from torchicon.cli.run import Run
from torchicon.data import Table, read_table


def read(run: Run, file: Path, *, labels: str | None, config: Path | None) -> Table:
    """Read a file in a step of the run, which takes the notes on it; a config's run may have seen other data.

    Raises:
        DataError: see `torchicon.data.read_table`.
    """
    with run.step("reading"):
        table = read_table(file, labels=labels)
    table = replace(table, source=Path(readable(str(file))), row_names=[readable(name) for name in table.row_names])
    for note in [*table.notes, *(configs.differences(config, table) if config is not None else [])]:
        run.note(readable(note))
    return table


def readable(text: str) -> str:
    r"""The text, with bytes that are no UTF-8 spelled out: a file's name may hold them, Parquet and JSON may not.

    >>> readable("caf\udce9.npy")
    'caf\\udce9.npy'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
