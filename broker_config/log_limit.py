"""Keeps what others can provoke without end from filling a log."""

from __future__ import annotations

from collections.abc import Callable


class LogLimit:
    """So many lines of each kind within `period` seconds; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float], *, lines: int = 20, period: float = 10.0) -> None:
        self._clock = clock
        self._lines = lines
        self._period = period
        #: Of each kind: since when it is counted, and how often it came since.
        self._seen: dict[str, tuple[float, int]] = {}

    def left_out(self, kind: str) -> int | None:
        """None: this one is not for the log. Else it is, and so many before it were not."""
        now = self._clock()
        since, count = self._seen.get(kind, (now, 0))
        if now - since >= self._period:
            self._seen[kind] = (now, 1)
            return max(0, count - self._lines)
        self._seen[kind] = (since, count + 1)
        return 0 if count < self._lines else None
