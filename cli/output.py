"""Where output goes: results to stdout (tables, or JSON Lines with `--json`), progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType

from .client import as_json


def out() -> Console:
    """Results, for people. Wide where stdout is no terminal, so that pipes see whole lines."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=False)


def err() -> Console:
    """Progress and remarks."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else 200, highlight=False)


def show(
    rows: Sequence[object], table: Callable[[], RenderableType], *, json: bool, nothing: str = ""
) -> None:
    """Rows as JSON Lines, or a table; `nothing` is said on stderr where there are none."""
    if json:
        for row in rows:
            print(as_json(row))
        sys.stdout.flush()
    elif rows:
        out().print(table())
    elif nothing:
        err().print(nothing)
