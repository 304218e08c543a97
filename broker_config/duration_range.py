"""A range of durations: `2s` (always the same) or `1s-3s`, or an object with `min` and `max`."""

from __future__ import annotations

from typing import Any

from .duration import ALLOWED, Duration


class DurationRange:
    """Seconds from `min` to `max`, both included."""

    __slots__ = ("max", "min")

    def __init__(self, low: float, high: float) -> None:
        self.min = Duration(low)
        self.max = Duration(high)

    @classmethod
    def parse(cls, value: object) -> DurationRange:
        """Read any of the forms. Raises `ValueError` with what is allowed."""
        allowed = f"{ALLOWED}, or a range of two such as 1s-3s"
        if isinstance(value, dict):
            if not value.keys() <= {"min", "max"} or not value:
                raise ValueError(f"{value!r} is not {allowed}, or an object with min and max")
            raw: list[Any] = [value.get("min", 0), value.get("max", value.get("min", 0))]
        elif isinstance(value, str) and "-" in value:
            raw = value.split("-", 1)
        else:
            raw = [value, value]
        try:
            low, high = Duration.parse(raw[0]), Duration.parse(raw[1])
        except ValueError:
            raise ValueError(f"{value!r} is not {allowed}") from None
        if low > high:
            raise ValueError(f"{value!r} is not allowed: min is above max")
        return cls(low, high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DurationRange) and (self.min, self.max) == (other.min, other.max)

    def __hash__(self) -> int:
        return hash((self.min, self.max))

    def __str__(self) -> str:
        return str(self.min) if self.min == self.max else f"{self.min}-{self.max}"

    def __repr__(self) -> str:
        return f"DurationRange({float(self.min)}, {float(self.max)})"
