"""Tables on the terminal: in one too narrow for them lines wrap, but nothing is cut."""

from rich.box import SIMPLE_HEAD, SQUARE
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text


def print_list(header: list[str], rows: list[list[str]], *, wrapped: tuple[str, ...]) -> None:
    """Print rows, one a line; only the named columns may take several."""
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in header:
        grid.add_column(title, no_wrap=title not in wrapped, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    _print(grid, width=80)


def print_squares(rows: list[list[str]]) -> None:
    """Print a table with lines between its cells; the first row is the header."""
    widths = [max(len(word) for cell in column for word in cell.split()) for column in zip(*rows, strict=True)]
    grid = Grid(box=SQUARE, show_lines=True, padding=(0, 1, 0, 0))
    for title, width in zip(rows[0], widths, strict=True):
        grid.add_column(title, width=width)
    for row in rows[1:]:
        grid.add_row(*map(Text, row))
    _print(grid, width=sum(widths) + 2 * len(widths) + 1)


def print_facts(title: str, facts: dict[str, str]) -> None:
    """Print a title and what there is to know, a line each."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")  # a long name is not cut
    for key, value in facts.items():
        grid.add_row(Text(key, style="dim"), Text(value))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(grid)


def _print(grid: Grid, *, width: int) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, width)
    console.print(grid)
