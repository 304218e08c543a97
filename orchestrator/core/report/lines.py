"""Sessions as CSV (RFC 4180), a line each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from broker_config.api import SessionRow

COLUMNS = (
    "session",
    "status",
    "attempt",
    "target",
    "asked",
    "got",
    "runner",
    "started_at",
    "ended_at",
    "duration_ms",
    "start_error_ms",
    "saturated",
    "error",
    "detail",
    "infrastructure",
    "http_status",
    "ttfb",
    "fcp",
    "lcp",
    "dcl",
    "load",
    "inp",
    "cls",
    "bytes",
    "requests",
    "failed_requests",
    "console_errors",
    "upstreams",
)
_MEASURES = COLUMNS[COLUMNS.index("http_status") : COLUMNS.index("upstreams")]
#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def header() -> bytes:
    return _csv([COLUMNS])


def lines(rows: Iterable[SessionRow]) -> bytes:
    """The lines of those sessions. Times are seconds since 1970, measures in ms and bytes; what was not
    measured is empty."""
    return _csv(_cells(row) for row in rows)


def _cells(row: SessionRow) -> list[object]:
    return [
        row.session,
        row.status,
        row.attempt,
        row.target,
        row.asked or row.platform,
        row.platform,
        row.runner,
        _time(row.started_at),
        _time(row.ended_at),
        _number(row.duration_ms or None),
        _number(row.start_error_ms),
        "yes" if row.saturated else "no",
        row.error.kind if row.error else "",
        row.error.detail if row.error else "",
        ("yes" if row.error.infrastructure else "no") if row.error else "",
        *(_number(getattr(row.measures, name)) for name in _MEASURES),
        " ".join(row.upstreams),
    ]


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _safe(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe, which it then shows as text."""
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return f"'{cell}"
    return cell.replace("\0", "�") if isinstance(cell, str) else cell


def _number(value: float | None) -> str | int:
    if value is None or isinstance(value, int):
        return "" if value is None else value
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _time(at: float) -> str:
    return f"{at:.3f}" if at else ""
