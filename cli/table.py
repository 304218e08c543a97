"""Plain tables that fit the width at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from .harmless import harmless

#: A column is not shortened below this.
LEAST = 20
#: Between two columns.
_GAP = 3


class Table:
    """Rows under the names of columns.

    Where it is too wide, its columns in `spare` are left out, first of them first, and those in `cut` are
    shortened with `…`. The others stay as they are: what is in them is to be copied.
    """

    def __init__(
        self, columns: Sequence[str], right: Iterable[str], spare: Sequence[str], cut: Sequence[str]
    ) -> None:
        self._columns = list(columns)
        self._right = set(right)
        self._spare = [self._columns.index(c) for c in spare]
        self._cut = {self._columns.index(c) for c in cut}
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: Text) -> None:
        self._rows.append(list(cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._fitted(options.max_width)

    def _fitted(self, room: int) -> Grid:
        cells = [max((row[i].cell_len for row in self._rows), default=1) for i in range(len(self._columns))]
        # A column in which nothing stands is not shown at all.
        natural = [width and max(width, cell_len(c)) for width, c in zip(cells, self._columns, strict=True)]
        shown = [i for i, width in enumerate(natural) if width]
        least = {i: min(natural[i], LEAST) if i in self._cut else natural[i] for i in shown}
        for spare in self._spare:
            if _whole(least.values()) <= room:
                break
            least.pop(spare, None)
        widths = {i: natural[i] for i in least}
        while (over := _whole(widths.values()) - room) > 0:
            longest = max((i for i in widths if widths[i] > least[i]), key=lambda i: widths[i], default=None)
            if longest is None:
                break
            widths[longest] -= min(over, max(1, (widths[longest] - least[longest]) // 2))
        # Far too narrow: then all of it, on as many lines as it takes.
        cut = self._cut if _whole(widths.values()) <= room else set()
        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
        for i, width in widths.items():
            name = self._columns[i]
            grid.add_column(
                name,
                justify="right" if name in self._right else "left",
                width=width if i in cut else None,
                no_wrap=i in cut,
                overflow="ellipsis" if i in cut else "fold",
            )
        for row in self._rows:
            grid.add_row(*(_shortened(row[i], width) if i in cut else row[i] for i, width in widths.items()))
        return grid


def table(
    *columns: str, right: Iterable[str] = (), spare: Sequence[str] = (), cut: Sequence[str] = ()
) -> Table:
    """A table with these columns; those in `right` are set flush right, `spare` and `cut` as in `Table`."""
    return Table(columns, right, spare, cut)


def row(table: Table | Grid, *cells: str | Text) -> None:
    """Words of users and servers are shown as they are: brackets in them are no markup."""
    # Made harmless here already: the table measures its cells before the console sees them.
    table.add_row(*(Text(harmless(c)) if isinstance(c, str) else c for c in cells))


def line(text: str) -> str:
    """Text of several lines as one."""
    return " ".join(text.split())


def _shortened(cell: Text, width: int) -> Text:
    """URLs begin alike: what tells them apart is their end. Other texts are cut at theirs by the table."""
    if cell.cell_len <= width or not cell.plain.startswith(("http://", "https://")):
        return cell
    return Text("…" + cell.plain[-(width - 1) :], cell.style)


def _whole(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + _GAP * (len(found) - 1)
