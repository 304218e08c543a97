"""The left side of a threshold, from what was folded so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from broker_config.job import Cell, StepCell
from broker_config.sketch import Sketch
from broker_config.threshold import RATES, SIZES, STEP, TIMES, Threshold


class Groups(Protocol):
    """What a fold and its checkpoint have in common."""

    @property
    def total(self) -> Cell: ...
    @property
    def targets(self) -> Mapping[str, Cell]: ...
    @property
    def platforms(self) -> Mapping[str, Cell]: ...
    @property
    def steps(self) -> Mapping[str, StepCell]: ...


def measure(threshold: Threshold, groups: Groups) -> float | None:
    """The threshold's left side now; None where nothing was measured yet."""
    if threshold.step:
        step = groups.steps.get(threshold.step)
        return value(threshold, groups.total, step.time if step else None)
    cell = _cell(threshold, groups)
    return value(threshold, cell, cell.metrics.get(threshold.metric)) if cell else None


def value(threshold: Threshold, cell: Cell, sketch: Sketch | None) -> float | None:
    """The same of one group, whose values of the metric are in `sketch`."""
    if threshold.metric in RATES:
        ran = cell.ok + cell.failed + cell.lost
        if not ran:
            return None
        # One division, so that 95 of 100 is 95 % to the last bit.
        return (ran - cell.ok if threshold.metric == "error_rate" else cell.ok) / ran
    if not threshold.aggregate:
        return float(getattr(cell, threshold.metric))
    if sketch is None or not sketch.count:
        return 0.0 if threshold.aggregate == "count" else None
    if threshold.aggregate == "quantile":
        return sketch.quantile(threshold.quantile)
    return float(getattr(sketch, threshold.aggregate))


def show(threshold: Threshold, actual: float) -> str:
    """The left side for people, with its unit: `4.21%`, `3120 ms`. It has more digits where rounding would
    put it on the other side of the limit."""
    if threshold.metric in RATES:
        return f"{_rounded(threshold, actual, 100.0, 2)}%"
    unit = ""
    if threshold.aggregate != "count":
        unit = " ms" if threshold.metric in (*TIMES, STEP) else " B" if threshold.metric in SIZES else ""
    size = math.floor(math.log10(abs(actual))) if actual and math.isfinite(actual) else 0
    text = _rounded(threshold, actual, 1.0, max(0, 3 - size))
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def _rounded(threshold: Threshold, actual: float, scale: float, digits: int) -> str:
    text = ""
    for more in range(digits, digits + 9):
        text = f"{actual * scale:.{more}f}"
        if threshold.holds(float(text) / scale) is threshold.holds(actual):
            break
    return text


def _cell(threshold: Threshold, groups: Groups) -> Cell | None:
    if threshold.group == "target":
        return groups.targets.get(threshold.value)
    if threshold.group == "platform":
        return groups.platforms.get(threshold.value)
    return groups.total
