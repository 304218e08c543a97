"""A duration that people write as `500ms`, `2s`, `1m30s`, `2h` or a plain number of seconds."""

from __future__ import annotations

import math
import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PARTS = re.compile(rf"(?:{_PART.pattern}\s*)+")

ALLOWED = "a duration such as 500ms, 2s, 1m30s, 2h, or a number of seconds"


class Duration(float):
    """Seconds, as a float; read from and written to JSON as a number of seconds.

    Documents may also hold text with units; `Duration.parse` reads both.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Read `'1m30s'`, `'2.5'` or a number. Raises `ValueError` with what is allowed."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{value!r} is not {ALLOWED}")
        if isinstance(value, str):
            text = value.strip()
            if _PARTS.fullmatch(text):
                seconds = sum(float(n) * _UNITS[u] for n, u in _PART.findall(text))
            else:
                try:
                    seconds = float(text)
                except ValueError:
                    raise ValueError(f"{value!r} is not {ALLOWED}") from None
        else:
            try:
                seconds = float(value)
            except OverflowError:
                raise ValueError(f"a number of {value.bit_length()} bits is not {ALLOWED}") from None  # type: ignore[union-attr]
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"{value!r} is not {ALLOWED}, zero or more")
        return cls(seconds)

    def __str__(self) -> str:
        """As short as it can be read again: `90d`, `2h`, `1h30m`, `90s`."""
        if self < 1:
            return f"{self * 1000:g}ms"
        if self % 86_400 == 0:
            return f"{self / 86_400:.0f}d"
        if self < 60 or 60 < self < 120:
            return f"{float(self):g}s"
        minutes, seconds = divmod(float(self), 60)
        hours, minutes = divmod(int(minutes), 60)
        text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
        return text + (f"{seconds:g}s" if seconds else "")
