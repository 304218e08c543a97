"""Plain tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from .harmless import harmless


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """A table with these columns; those in `right` are set flush right."""
    out = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for c in columns:
        out.add_column(c, justify="right" if c in right else "left", overflow="fold")
    return out


def row(table: Table, *cells: str | Text) -> None:
    """Words of users and servers are shown as they are: brackets in them are no markup."""
    # Made harmless here already: the table measures its cells before the console sees them.
    table.add_row(*(Text(harmless(c)) if isinstance(c, str) else c for c in cells))
