"""States and moments as the command line writes them; `broker_config.words` has numbers and times."""

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
