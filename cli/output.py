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


#: Of lines that nobody must break.
_ENDLESS = 10_000


def out(*, wide: bool = False) -> Console:
    """Results, for people. As wide as they are where `wide`, and where stdout is no terminal: pipes see whole
    lines."""
    is_bounded = sys.stdout.isatty() and not wide
    return _Console(width=None if is_bounded else _ENDLESS, highlight=False, soft_wrap=False)


def err() -> Console:
    """Progress and remarks."""
    return _Console(stderr=True, width=None if sys.stderr.isatty() else 200, highlight=False)


def json_line(value: object) -> None:
    """One line of JSON, written at once."""
    print(as_json(value), flush=True)


def show(
    rows: Sequence[object],
    table: Callable[[], RenderableType],
    *,
    json: bool,
    wide: bool = False,
    nothing: str = "",
) -> None:
    """Rows as JSON Lines, or a table; `nothing` is said on stderr where there are none.

    `wide` as in `out`.
    """
    if json:
        for row in rows:
            json_line(row)
    elif rows:
        out(wide=wide).print(table())
    elif nothing:
        err().print(nothing)
