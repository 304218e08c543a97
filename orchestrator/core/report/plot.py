"""Plots as geometry: what the page's template writes as SVG. Pure arithmetic, in units of the viewBox."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from broker_config.report import ReportBin, ReportMoment
from broker_config.sketch import GAMMA
from broker_config.words import milliseconds, number, seconds

LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 14.0, 30.0
#: Plots are made in both widths; the page shows the one that fits.
WIDE, NARROW = 880.0, 342.0
HEIGHT = 230.0
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


class Tick(NamedTuple):
    at: float
    label: str


class Bar(NamedTuple):
    """`kind` is a class of the style sheet; `title` is what a pointer shows."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


class Line(NamedTuple):
    path: str
    kind: str


class Mark(NamedTuple):
    """A vertical line with a label at its top."""

    x: float
    label: str
    #: On which side of the line the label stands.
    anchor: str
    y: float


class Plot(msgspec.Struct, frozen=True):
    """`lines` are drawn over `bars`, `marks` over both."""

    width: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bars: list[Bar] = []
    lines: list[Line] = []
    marks: list[Mark] = []
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


class Stretch(NamedTuple):
    """Neighbouring moments together. `at` is seconds since the start of the job."""

    at: float
    length: float
    ok: int
    failed: int
    other: int
    loads: int
    load_mean: float | None
    load_max: float | None


def stretches(
    timeline: Sequence[ReportMoment], moment_s: float, began: float | None, most: int
) -> list[Stretch]:
    """The timeline in at most `most` parts of the same length."""
    if not timeline:
        return []
    together = -(-len(timeline) // most)
    start = timeline[0].at
    # Stream and conductor have clocks of their own.
    offset = start - began if began is not None and 0 <= start - began < 86_400 else 0.0
    return [
        _joined(timeline[i : i + together], offset + i * moment_s, together * moment_s)
        for i in range(0, len(timeline), together)
    ]


def _joined(part: Sequence[ReportMoment], at: float, length: float) -> Stretch:
    loads = sum(m.loads for m in part)
    total = sum((m.load_mean or 0.0) * m.loads for m in part)
    return Stretch(
        at=at,
        length=length,
        ok=sum(m.ok for m in part),
        failed=sum(m.failed for m in part),
        other=sum(m.other for m in part),
        loads=loads,
        load_mean=total / loads if loads else None,
        load_max=max((m.load_max for m in part if m.load_max is not None), default=None),
    )


def ended_plot(parts: Sequence[Stretch], width: float) -> Plot:
    """Sessions that ended per second, by status, one on top of the other."""
    top = max((_rate(p, p.ok + p.failed + p.other) for p in parts), default=0.0)
    x, y = _times(parts, width), _Scale.up(top)
    bars = []
    for p in parts:
        left, right = x.at(p.at), x.at(p.at + p.length)
        below = 0.0
        for kind, n in (("ok", p.ok), ("failed", p.failed), ("other", p.other)):
            if n:
                low, high = y.at(below), y.at(below + _rate(p, n))
                words = f"{_span(p)}: {number(n)} {kind}"
                gap = min(1.0, (right - left) * 0.15)
                bars.append(Bar(left, high, max(right - left - gap, 0.5), max(low - high, 0.5), kind, words))
                below += _rate(p, n)
    return Plot(width, x.seconds(), y.ticks(lambda v: f"{v:.4g}"), bars)


def load_plot(parts: Sequence[Stretch], width: float) -> Plot:
    """Mean and longest page load over time."""
    top = max((p.load_max for p in parts if p.load_max is not None), default=0.0)
    x, y = _times(parts, width), _Scale.up(top)
    lines = [
        Line(_path((x.at(p.at + p.length / 2), _at(y, p.load_max)) for p in parts), "longest"),
        Line(_path((x.at(p.at + p.length / 2), _at(y, p.load_mean)) for p in parts), "mean"),
    ]
    return Plot(width, x.seconds(), y.ticks(_on_axis), lines=lines)


def distribution_plot(bins: Sequence[ReportBin], marks: Sequence[tuple[str, float]], width: float) -> Plot:
    """Page loads by how long they took, on a logarithmic axis; `marks` are `(label, ms)`."""
    low, high = (math.log(bins[0].above), math.log(bins[-1].up_to)) if bins else (0.0, 1.0)
    # A single bin is no axis.
    pad = max(0.0, 0.25 - (high - low)) / 2
    x = _Scale(low - pad, high + pad, LEFT, width - RIGHT)
    y = _Scale.up(float(max((b.count for b in bins), default=0)), top=TOP + 16 * (len(marks) > 0), whole=True)
    bars = []
    for b in bins:
        if b.count:
            left, right, height = x.at(math.log(b.above)), x.at(math.log(b.up_to)), y.at(float(b.count))
            words = f"{milliseconds(b.above)} to {milliseconds(b.up_to)}: {number(b.count)}"
            bars.append(
                Bar(left, height, max(right - left - 1, 0.5), max(y.at(0.0) - height, 0.5), "load", words)
            )
    lines = []
    last = -math.inf
    row = 0
    for label, value in marks:
        at = x.at(math.log(max(value, GAMMA**-400)))
        row = (row + 1) % 2 if at - last < 44 else 0
        last = at
        anchor = "end" if at > width - RIGHT - 40 else "start"
        lines.append(Mark(at, label, anchor, TOP + 4 + 12 * row))
    return Plot(width, _log_ticks(x, width), y.ticks(number), bars=bars, marks=lines)


class _Scale:
    """A straight line from values to units."""

    def __init__(self, low: float, high: float, start: float, end: float, step: float = 0.0) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end
        self.step = step

    @classmethod
    def up(cls, most: float, *, whole: bool = False, top: float = TOP) -> _Scale:
        """An upright axis from 0 to a round number, at least `most`."""
        step = _nice(max(most, 1e-9) / 4)
        if whole:
            step = max(1.0, step)
        high = max(step, math.ceil(most / step - 1e-9) * step)
        return cls(0.0, high, HEIGHT - BOTTOM, top, step)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, words: Callable[[float], str]) -> list[Tick]:
        n = round((self.high - self.low) / self.step)
        return [Tick(self.at(i * self.step), words(i * self.step)) for i in range(n + 1)]

    def seconds(self) -> list[Tick]:
        """A few ticks at round times."""
        room = (self.end - self.start) / 78
        span = self.high - self.low
        step = next((float(s) for s in _TIME_STEPS if span / s <= room), 0.0) or _nice(span / room)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [Tick(self.at(i * step), seconds(i * step)) for i in range(first, last + 1)]


def _times(parts: Sequence[Stretch], width: float) -> _Scale:
    low = parts[0].at if parts else 0.0
    high = parts[-1].at + parts[-1].length if parts else 1.0
    return _Scale(low, high, LEFT, width - RIGHT)


def _log_ticks(x: _Scale, width: float) -> list[Tick]:
    """At 1, 2 and 5 of each power of ten, or at fewer where their words would touch."""
    low, high = math.floor(x.low / math.log(10)), math.ceil(x.high / math.log(10))
    for digits in ((1, 2, 5), (1, 5), (1,), (2,), (5,)):
        ticks = [
            Tick(x.at(math.log(d * 10.0**p)), _on_axis(d * 10.0**p))
            for p in range(low, high + 1)
            for d in digits
            if x.low <= math.log(d * 10.0**p) <= x.high
        ]
        if len(ticks) > 1 and all(b.at - a.at >= 48 for a, b in pairwise(ticks)):
            return ticks
    values = [math.exp(x.low + (x.high - x.low) * share) for share in (0.1, 0.5, 0.9)]
    return [Tick(x.at(math.log(v)), milliseconds(v)) for v in values]


def _nice(value: float) -> float:
    """1, 2 or 5 times a power of ten, at least `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((d * power for d in (1, 2, 5) if d * power >= value * (1 - 1e-9)), 10 * power)


def _at(y: _Scale, value: float | None) -> float | None:
    return None if value is None else y.at(value)


def _path(points: Iterable[tuple[float, float | None]]) -> str:
    """Moves and lines. Where nothing was measured the line is broken; a point alone is a short dash."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    out = []
    for run in runs:
        if len(run) == 1:
            (x, y), *_ = run
            run = [(x - 1.5, y), (x + 1.5, y)]
        out += [f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(run)]
    return "".join(out)


def _rate(p: Stretch, n: int) -> float:
    return n / p.length


def _span(p: Stretch) -> str:
    return f"{seconds(p.at)} to {seconds(p.at + p.length)}"


def _on_axis(value: float) -> str:
    """Milliseconds at a tick: `500 ms`, `2 s`, `1.5 s`."""
    return f"{value:.4g} ms" if value < 1000 else seconds(value / 1000)
