"""Thresholds against the fold, and the verdict of a job."""

from __future__ import annotations

from typing import NamedTuple

from broker_config.job import EndedBy
from broker_config.messages import Verdict
from broker_config.threshold import Threshold

from .measured import Groups, measure, show


class Judgement(NamedTuple):
    verdict: Verdict
    reason: str


def holds(thresholds: list[Threshold], groups: Groups) -> dict[str, bool | None]:
    """By expression: True, False, or None where nothing was measured yet."""
    out: dict[str, bool | None] = {}
    for t in thresholds:
        actual = measure(t, groups)
        out[t.text] = None if actual is None else t.holds(actual)
    return out


def judge(
    thresholds: list[Threshold],
    groups: Groups,
    *,
    cancelled: bool,
    reason: str = "",
    ended_by: EndedBy = "",
) -> Judgement:
    """The verdict once every session has ended. The gravest finding wins: aborted, error, failed, passed.

    A threshold on something that was never measured does not hold: a verdict must not pass on no evidence.
    A job that a threshold has ended is failed, whatever became of the sessions that were cut off.
    """
    total = groups.total
    if ended_by == "threshold":
        return Judgement("failed", reason)
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
        actual = measure(t, groups)
        if actual is None:
            broken.append(f"{t.text} (nothing was measured)")
        elif not t.holds(actual):
            broken.append(f"{t.text} (was {show(t, actual)})")
    if broken:
        return Judgement("failed", "threshold does not hold: " + "; ".join(broken))
    return Judgement("passed", "")
