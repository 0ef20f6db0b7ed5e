"""Tables of a run that grow while it runs: metrics.csv and evaluations.csv."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from torchicon.data.write import atomic


@final
class Record:
    """A table that grows by rows, each of which is on the disk once it is written.

    Args:
        path: of the CSV file.
        columns: "step" first.
        step: rows of later steps are dropped: a run that resumes writes them again.
    """

    def __init__(self, path: Path, columns: Iterable[str], *, step: int = 0) -> None:
        self.path, self.columns = path, tuple(columns)
        kept = [row for row in read_record(path) if int(row["step"]) <= step] if step else []
        with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)
            file.flush()
            os.fsync(file.fileno())


def read_record(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, none if there is no file; a last one that was cut short is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row.values()]
