"""Thresholds against the fold, and the verdict of a job."""

from __future__ import annotations

from typing import NamedTuple

from broker_config.job import Cell
from broker_config.messages import Verdict
from broker_config.sketch import Sketch
from broker_config.threshold import RATES, Threshold

from .fold import Fold


class Judgement(NamedTuple):
    verdict: Verdict
    reason: str


def measure(threshold: Threshold, fold: Fold) -> float | None:
    """The threshold's left side now; None where nothing was measured yet."""
    if threshold.step:
        step = fold.steps.get(threshold.step)
        return _of(step.time if step else None, threshold)
    cell = _cell(threshold, fold)
    if cell is None:
        return None
    if threshold.metric in RATES:
        ran = cell.ok + cell.failed + cell.lost
        if not ran:
            return None
        # One division, so that 95 of 100 is 95 % to the last bit.
        return (ran - cell.ok if threshold.metric == "error_rate" else cell.ok) / ran
    if not threshold.aggregate:
        return float(getattr(cell, threshold.metric))
    return _of(cell.metrics.get(threshold.metric), threshold)


def _of(sketch: Sketch | None, threshold: Threshold) -> float | None:
    if sketch is None or not sketch.count:
        return 0.0 if threshold.aggregate == "count" else None
    if threshold.aggregate == "quantile":
        return sketch.quantile(threshold.quantile)
    return float(getattr(sketch, threshold.aggregate))


def holds(thresholds: list[Threshold], fold: Fold) -> dict[str, bool | None]:
    """By expression: True, False, or None where nothing was measured yet."""
    out: dict[str, bool | None] = {}
    for t in thresholds:
        actual = measure(t, fold)
        out[t.text] = None if actual is None else t.holds(actual)
    return out


def judge(thresholds: list[Threshold], fold: Fold, *, cancelled: bool, reason: str = "") -> Judgement:
    """The verdict once every session has ended. The gravest finding wins: aborted, error, failed, passed.

    A threshold on something that was never measured does not hold: a verdict must not pass on no evidence.
    """
    total = fold.total
    if cancelled:
        return Judgement("aborted", reason or f"cancelled with {total.cancelled} sessions not run")
    if total.lost:
        return Judgement("error", f"{total.lost} of {total.planned} sessions were lost")
    if total.ok + total.failed == 0:
        return Judgement("error", "no session ran")
    if total.faults == total.failed and not total.ok:
        return Judgement(
            "error", "no session reached a site: every one ended in a fault of runner or browser"
        )
    broken = []
    for t in thresholds:
        actual = measure(t, fold)
        if actual is None:
            broken.append(f"{t.text} (nothing was measured)")
        elif not t.holds(actual):
            broken.append(f"{t.text} (was {_show(t, actual)})")
    if broken:
        return Judgement("failed", "threshold does not hold: " + "; ".join(broken))
    return Judgement("passed", "")


def _cell(threshold: Threshold, fold: Fold) -> Cell | None:
    if threshold.group == "target":
        return fold.targets.get(threshold.value)
    if threshold.group == "platform":
        return fold.platforms.get(threshold.value)
    return fold.total


def _show(threshold: Threshold, actual: float) -> str:
    return f"{actual:.2%}" if threshold.metric in RATES else f"{actual:.6g}"
