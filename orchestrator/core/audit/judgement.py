"""The verdict and the thresholds, judged again from the auditor's own books."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Literal

from broker_config.job import Job
from broker_config.messages import Verdict
from broker_config.threshold import Threshold, parse

from .metric import ACCURACY, ROUNDING, at_quantile
from .report import Findings
from .tally import Group, Tally

#: None: nothing was measured; `unsure`: so near to the limit that a sketch may decide either way.
Answer = Literal["unsure"] | bool | None


def holds(text: str, tally: Tally) -> Answer:
    """Whether the threshold holds."""
    threshold = parse(text)
    if threshold.step:
        step = tally.steps.get(threshold.step)
        value, doubt = _of_values(threshold, array("d", sorted(step.values)) if step else ())
    else:
        group = _group(threshold, tally)
        if group is None:
            return None
        value, doubt = _value(threshold, group)
    if value is None:
        return None
    if doubt and abs(value - threshold.limit) <= doubt * max(abs(value), abs(threshold.limit)):
        return "unsure"
    return threshold.holds(value)


def check_verdict(job: Job, tally: Tally, findings: Findings) -> None:
    """The verdict of the job's document must follow from the records, in the order of gravity."""
    if job.state != "finished":
        if job.verdict is not None:
            findings.add("verdict", f"the job is {job.state} and has the verdict {job.verdict} already")
        return
    total = tally.total.by_status
    answers = {text: holds(text, tally) for text in job.spec.expressions}
    broken = [text for text, answer in answers.items() if answer in (False, None)]
    right: Verdict
    if job.ended_by == "threshold":
        right, why = "failed", "a threshold has ended it"
        for rule in tally.early:
            rule.end()
        if job.desired != "cancel" or not any(rule.could for rule in tally.early):
            findings.add("verdict", f"no threshold can have ended the job: {job.reason}")
    elif job.desired == "cancel":
        right, why = "aborted", "it was cancelled"
    elif total["lost"]:
        right, why = "error", f"{total['lost']} sessions were lost"
    elif not total["ok"] + total["failed"]:
        right, why = "error", "no session ran"
    elif not total["ok"] and tally.total.faults == total["failed"]:
        right, why = "error", "no session reached a site"
    elif broken:
        right, why = "failed", f"{'; '.join(broken)} does not hold"
    elif "unsure" in answers.values():
        return
    else:
        right, why = "passed", "every session ended and every threshold holds"
    if job.verdict != right:
        findings.add("verdict", f"the verdict is {job.verdict}; {right} is right: {why}")


def _group(threshold: Threshold, tally: Tally) -> Group | None:
    if threshold.group == "target":
        return tally.targets.get(threshold.value)
    if threshold.group == "platform":
        return tally.platforms.get(threshold.value)
    return tally.total


def _value(threshold: Threshold, group: Group) -> tuple[float | None, float]:
    """The left side, and the share by which a claim may rightly differ from it."""
    if threshold.metric in ("error_rate", "ok_rate"):
        errors = group.by_status["failed"] + group.by_status["lost"]
        ran = group.by_status["ok"] + errors
        good = errors if threshold.metric == "error_rate" else group.by_status["ok"]
        return (good / ran if ran else None), 0.0
    if not threshold.aggregate:
        return float(group.by_status[threshold.metric]), 0.0
    return _of_values(threshold, group.sorted(threshold.metric))


def _of_values(threshold: Threshold, own: Sequence[float]) -> tuple[float | None, float]:
    if threshold.aggregate == "count":
        return float(len(own)), 0.0
    if not own:
        return None, 0.0
    match threshold.aggregate:
        case "min":
            return own[0], 0.0
        case "max":
            return own[-1], 0.0
        case "mean":
            return math.fsum(own) / len(own), ROUNDING
        case _:
            return at_quantile(own, threshold.quantile), 1.1 * ACCURACY
