"""What one threshold sees of the sessions that ended within the last so many seconds. No I/O, no clock.

The window is cut into `SLICES` slices, aligned to the time since 1970; at a moment within a slice it is made
of that slice and the nine before it. So it spans between nine tenths of its length and all of it, and its
memory is that of ten sketches, however many sessions there are.
"""

from __future__ import annotations

import math

import msgspec

from broker_config.job import Cell
from broker_config.messages import SessionRecord, SessionStatus
from broker_config.sketch import Sketch
from broker_config.threshold import STEP, Threshold

from .measured import value

SLICES = 10


class Slice(msgspec.Struct):
    """Sessions that ended within a tenth of the window: their number by status, and the values measured."""

    cell: Cell = msgspec.field(default_factory=Cell)
    values: Sketch = msgspec.field(default_factory=Sketch)


class Sliding:
    """Times are the stream's: when it stored the records."""

    def __init__(self, threshold: Threshold, seconds: float) -> None:
        self._threshold = threshold
        self._width = seconds / SLICES
        #: By number, counted from 1970.
        self._slices: dict[int, Slice] = {}
        self._newest = 0

    def add(
        self, at: float, status: SessionStatus, target: str, platform: str, record: SessionRecord | None
    ) -> None:
        """Take in a counted session; `record` is None where no runner reported it."""
        t = self._threshold
        if (t.group == "target" and t.value != target) or (t.group == "platform" and t.value != platform):
            return
        number = math.floor(at / self._width)
        self._forget(number)
        if number <= self._newest - SLICES:
            return
        part = self._slices.get(number)
        if part is None:
            part = self._slices[number] = Slice()
        setattr(part.cell, status, getattr(part.cell, status) + 1)
        if record is not None and status in ("ok", "failed"):
            for seen in _values(t, record):
                part.values.add(seen)

    def measure(self, now: float) -> float | None:
        """The threshold's left side over the window that ends now; None where nothing was measured in it, or
        no session ended."""
        self._forget(math.floor(now / self._width))
        cell, values = Cell(), Sketch()
        for part in self._slices.values():
            cell.ok += part.cell.ok
            cell.failed += part.cell.failed
            cell.cancelled += part.cell.cancelled
            cell.lost += part.cell.lost
            cell.dropped += part.cell.dropped
            values.merge(part.values)
        return value(self._threshold, cell, values) if self._slices else None

    def _forget(self, number: int) -> None:
        """The window has come to that slice; what lies before it goes."""
        if number > self._newest:
            self._newest = number
            for old in [n for n in self._slices if n <= number - SLICES]:
                del self._slices[old]


def _values(threshold: Threshold, record: SessionRecord) -> list[float]:
    if threshold.metric == STEP:
        return [s.ms for s in record.steps if s.ok and s.name[:64] == threshold.step]
    if not threshold.aggregate:
        return []
    if threshold.metric == "duration":
        return [record.duration_ms] if record.duration_ms else []
    if threshold.metric == "start_error":
        return [] if record.start_error_ms is None else [record.start_error_ms]
    seen = getattr(record.measures, threshold.metric)
    return [] if seen is None else [float(seen)]
