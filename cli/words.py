"""Numbers, times and states as the command line writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

STATE_COLOURS = {
    "queued": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "cancelling": "yellow",
    "online": "green",
    "draining": "yellow",
    "lost": "red",
    "offline": "dim",
    "passed": "green",
    "ok": "green",
    "failed": "red",
    "aborted": "yellow",
    "error": "red",
    "cancelled": "yellow",
    "dropped": "yellow",
}


def milliseconds(value: float | None) -> str:
    """`85 ms`, `2.35 s`; `–` for none."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def size(value: float) -> str:
    """`512 B`, `12.3 KB`, `4.0 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def ago(then: float, now: float) -> str:
    seconds = max(0, int(now - then))
    if seconds < 60:
        return f"{seconds}s ago"
    if seconds < 3600:
        return f"{seconds // 60}m ago"
    return f"{seconds // 3600}h ago" if seconds < 86_400 else f"{seconds // 86_400}d ago"


def clock_time(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else "–"


def coloured(word: str | None) -> Text:
    return Text(word or "", style=STATE_COLOURS.get(word or "", ""))
