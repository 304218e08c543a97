"""Rows of data for journeys, one for each session."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_ROWS = 100_000

Cell = str | int | float | bool | None
Row = dict[str, Cell]
#: `session`: session n has row n, from the beginning again after the last. `sequential`: the same for each
#: target on its own: its first session has the first row. `random`: drawn for each session. `unique`: no row
#: is used by two sessions; there must be enough of them.
Mode = Literal["session", "sequential", "random", "unique"]


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`${name.column}` in a journey is a value of the session's row."""

    #: Rows of values by column. Alternatively, `file`.
    rows: Annotated[list[Row], Meta(max_length=MAX_ROWS)] = []
    #: CSV, JSON or XLSX. Read where the job is submitted: a stored job holds its rows.
    file: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    #: Which row a session has. `session`: session n has row n, from the beginning again after the last.
    #: `sequential`: the same for each target on its own. `random`: drawn by the seed. `unique`: no row is
    #: used twice; there must be enough of them.
    mode: Mode = "session"
    #: Of the variables: `${name.column}`.
    name: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,31}$")] = "data"

    def variables(self, row: int) -> Row:
        """The row at this index, by variable: `user.email`."""
        return {f"{self.name}.{column}": value for column, value in self.rows[row].items()}
