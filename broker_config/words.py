"""Numbers and times for people, as reports and the command line write them."""

from __future__ import annotations

from datetime import UTC, datetime

#: Metrics in the order in which they are shown, with their names for people.
METRICS = {
    "ttfb": "Time to first byte",
    "fcp": "First contentful paint",
    "lcp": "Largest contentful paint",
    "dcl": "DOM content loaded",
    "load": "Page load",
    "inp": "Interaction to next paint",
    "cls": "Layout shift",
    "duration": "Whole session",
    "start_error": "Started late by",
    "bytes": "Bytes of the page",
    "requests": "Requests",
    "failed_requests": "Failed requests",
    "console_errors": "Console errors",
}


def milliseconds(value: float | None) -> str:
    """`0.4 ms`, `85 ms`, `2.35 s`, `2m 5s`; `–` for none."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.2g} ms" if value else "0 ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    return f"{value / 1000:.2f} s" if value < 59_995 else seconds(value / 1000)


def seconds(value: float | None) -> str:
    """`8.4 s`, `2m 5s`, `3h 20m`; `–` for none."""
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if minutes else f"{hours}h"


def size(value: float | None) -> str:
    """`512 B`, `12.3 KB`, `4.0 GB`; `–` for none."""
    if value is None:
        return "–"
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def number(value: float | None) -> str:
    """`1 234 567` with narrow spaces; `–` for none."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    """`0 %`, `0.03 %`, `4.2 %`, `100 %`; `–` for none."""
    if share is None:
        return "–"
    value = share * 100
    text = f"{value:.2f}" if 0 < value < 1 else f"{value:.1f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def of_metric(name: str, value: float | None, *, mean: bool = False) -> str:
    """A value of that metric, or a mean of it."""
    if mean and value is not None and name in ("requests", "failed_requests", "console_errors"):
        return f"{value:.2f}"
    match name:
        case "bytes":
            return size(value)
        case "cls":
            return "–" if value is None else f"{value:.3f}"
        case "requests" | "failed_requests" | "console_errors":
            return number(value)
        case _:
            return milliseconds(value)


def moment(at: float | None) -> str:
    """`2026-03-14 09:26:53 UTC`; `–` for none."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else "–"
    except (OverflowError, ValueError, OSError):
        return "–"
