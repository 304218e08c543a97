"""Where output goes: results to stdout (tables, or JSON Lines with `--json`), progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from .client import as_json
from .harmless import harmless


class _Console(Console):
    """Rich writes escape sequences as it finds them in a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)

    def on_broken_pipe(self) -> NoReturn:
        # Rich would end the process with exit code 1, which means something else here.
        raise BrokenPipeError


def out() -> Console:
    """Results, for people. Wide where stdout is no terminal, so that pipes see whole lines."""
    return _Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=False)


def err() -> Console:
    """Progress and remarks."""
    return _Console(stderr=True, width=None if sys.stderr.isatty() else 200, highlight=False)


def json_line(value: object) -> None:
    """One line of JSON, written at once."""
    print(as_json(value), flush=True)


def show(
    rows: Sequence[object], table: Callable[[], RenderableType], *, json: bool, nothing: str = ""
) -> None:
    """Rows as JSON Lines, or a table; `nothing` is said on stderr where there are none."""
    if json:
        for row in rows:
            json_line(row)
    elif rows:
        out().print(table())
    elif nothing:
        err().print(nothing)
