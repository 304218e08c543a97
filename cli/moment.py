"""Moments as people write them on the command line."""

from __future__ import annotations

from datetime import datetime

from broker_config.duration import Duration
from broker_config.errors import SettingsError


def since(text: str, now: float) -> float:
    """Seconds since 1970 of `2h` (so long ago), or of a date or time as in `2026-11-24T12:00` (of this place,
    unless it names its own). Raises `SettingsError`."""
    try:
        return now - float(Duration.parse(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise SettingsError(
            f"--since {text!r} is no time; write how long ago (90m, 2h, 7d) or when (2026-11-24, "
            "2026-11-24T12:00)"
        ) from None
