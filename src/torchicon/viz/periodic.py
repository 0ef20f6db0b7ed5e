"""The periodic table of representation learning as one page that opens without a network."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torchicon.viz.page import render, write_atomically
from torchicon.viz.palette import category_colors
from torchicon.viz.pictures import Picture, pack_pictures

_WIDTH = 16  # tiles side by side, over all columns, on a wide screen


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A column or row of the table: its name, and what its neighborhoods look like."""

    name: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method as the page shows it; every string may come from anywhere.

    Args:
        name: what its tile says.
        column, row: names of its axes.
        gap: it fills a gap of the published table.
        p_equation, q_equation: plain text.
        facts: further lines, by what they are about.
        sign: how exact it is, in a character or two, such as "=".
        claim: the same as a sentence.
        evidence: what was measured of the claim, by name.
        source: author and year.
        bibtex: for citing.
        code: that makes it.
        picture: of a training.
        without: why there is no picture.
        metric, value: a share in [0, 1] that suits it, and what it is of.
    """

    name: str
    column: str
    row: str
    gap: bool = False
    p_equation: str = ""
    q_equation: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    sign: str = ""
    claim: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    bibtex: str = ""
    code: str = ""
    picture: Picture | None = None
    without: str = ""
    metric: str = ""
    value: float | None = None


@dataclass(frozen=True)
class _Shown:
    index: int
    id: str
    entry: Entry


def write_periodic_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[Axis],
    rows: Sequence[Axis],
    entries: Sequence[Entry],
    signs: Mapping[str, str] | None = None,
    colors: Sequence[str] = (),
    made: Mapping[str, str] | None = None,
) -> None:
    """Write the table: a tile for each method in its cell, and all there is to say about it behind the tile.

    Args:
        path: the file; its folder must exist. It is replaced at once, when the page is whole.
        columns, rows: all axes, in order; those without a method are left out.
        entries: the methods; those of one cell stay in this order.
        signs: what each sign of the entries means.
        colors: what each color of the pictures stands for, in the order of their codes.
        made: how the pictures were made, by name.

    Raises:
        ValueError: an entry is on no axis, or a value is not a share.
        OSError: the file cannot be written.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "table.html")
    >>> cell = Entry(name="PCA", column="Identity", row="Gaussian, wide")
    >>> write_periodic_table(path, columns=[Axis(name="Identity")], rows=[Axis(name="Gaussian, wide")], entries=[cell])
    >>> "PCA" in path.read_text(encoding="utf-8")
    True
    """
    for entry in entries:
        if entry.column not in {axis.name for axis in columns} or entry.row not in {axis.name for axis in rows}:
            raise ValueError(f"{entry.name!r} is in cell ({entry.column!r}, {entry.row!r}), which no axes make.")
        if entry.value is not None and not 0 <= entry.value <= 1:
            raise ValueError(f"{entry.name!r} has the value {entry.value}, which is not a share in [0, 1].")
    columns = [axis for axis in columns if any(entry.column == axis.name for entry in entries)]
    rows = [axis for axis in rows if any(entry.row == axis.name for entry in entries)]
    places = _anchors([entry.name for entry in entries])
    shown = [_Shown(i, place, entry) for i, (place, entry) in enumerate(zip(places, entries, strict=True))]
    cells = {
        (column.name, row.name): [s for s in shown if (s.entry.column, s.entry.row) == (column.name, row.name)]
        for column in columns
        for row in rows
    }
    counts = [[len(cells[column.name, row.name]) for row in rows] for column in columns]
    arrays, pictures = pack_pictures({str(i): e.picture for i, e in enumerate(entries) if e.picture is not None})
    used = {entry.sign for entry in entries}
    page = render(
        "periodic.html",
        scripts=("periodic.js",),
        styles=("tokens.css", "periodic.css"),
        columns=columns,
        rows=rows,
        cells=cells,
        spans=column_spans(counts, _WIDTH),
        shown=shown,
        signs={sign: meaning for sign, meaning in (signs or {}).items() if sign in used},
        chips=list(zip(colors, category_colors(len(colors)), strict=True)),
        gaps=sum(bool(items) and all(item.entry.gap for item in items) for items in cells.values()),
        made=made or {},
        data={"arrays": arrays, "pictures": pictures, "colors": category_colors(24)},
    )
    write_atomically(path, page)


def column_spans(counts: Sequence[Sequence[int]], width: int) -> list[int]:
    """How many tiles wide each column is, so that a table of that width is as low as it can be made.

    Width goes, tile by tile, where it takes most from the height; what is left over goes to the fullest cells.

    Args:
        counts: methods in each cell, by column.
        width: tiles in all; every column has one at least.

    >>> column_spans([[9, 1], [1, 1]], 4)
    [3, 1]
    """

    depth = len(counts[0]) if counts else 0

    def heights(spans: Sequence[int]) -> list[int]:
        pairs = list(zip(counts, spans, strict=True))
        return [max(-(-column[row] // span) for column, span in pairs) for row in range(depth)]

    spans = [1] * len(counts)
    while sum(spans) < width and any(height > 1 for height in heights(spans)):
        tried = [[span + (i == j) for j, span in enumerate(spans)] for i in range(len(spans))]
        fullness = [max(-(-count // span) for count in column) for column, span in zip(counts, spans, strict=True)]
        best = min(range(len(spans)), key=lambda i: (sum(heights(tried[i])), -fullness[i]))
        spans = tried[best]
    return spans


def _anchors(names: Sequence[str]) -> list[str]:
    """For each name an id that a link can end in, all different."""
    seen: Counter[str] = Counter()
    anchors = []
    for name in names:
        words = re.sub(r"[^a-z0-9+]+", "-", name.casefold()).strip("-") or "method"
        seen[words] += 1
        anchors.append(words if seen[words] == 1 else f"{words}--{seen[words]}")
    return anchors
