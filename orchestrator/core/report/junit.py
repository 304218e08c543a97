"""A report as JUnit XML, as GitLab, Jenkins and GitHub read it.

The verdict, each threshold, each check and each target × platform is a test case. There is a failure or an
error in it exactly where the verdict is not `passed`: sessions that failed in a job whose thresholds allow it
are told in the case's output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, tostring

from broker_config.report import Report, ReportThreshold

from .by_group import SessionGroup

#: Characters that XML 1.0 does not have at all.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report, groups: Sequence[SessionGroup]) -> bytes:
    """The document. `groups` are the sessions by target and platform."""
    took = (report.ended_at or report.made_at) - (report.started_at or report.submitted_at)
    root = Element("testsuites", {"name": _text(report.name), "time": _seconds(took)})
    suites = [_thresholds(root, report, took), _checks(root, report), _sessions(root, report, groups)]
    for suite in suites:
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        for kind in ("failure", "error", "skipped"):
            plural = {"failure": "failures", "error": "errors"}.get(kind, kind)
            suite.set(plural, str(sum(c.find(kind) is not None for c in cases)))
        if not cases:
            root.remove(suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(s.get(name, "0")) for s in root)))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'.encode()


def _thresholds(root: Element, report: Report, took: float) -> Element:
    suite = _suite(root, report, "thresholds", took)
    c = report.counts
    properties = SubElement(suite, "properties")
    for name, value in {
        "job": report.job,
        "state": report.state,
        "verdict": report.verdict or "",
        "planned": c.planned,
        "ok": c.ok,
        "failed": c.failed,
        "cancelled": c.cancelled,
        "lost": c.lost,
        "dropped": c.dropped,
        "saturated": c.saturated,
        **{f"tag.{k}": v for k, v in _tags(report).items()},
    }.items():
        SubElement(properties, "property", {"name": _text(name), "value": _text(str(value))})
    verdict = _case(suite, "verdict", f"{report.name}.verdict", took)
    match report.verdict:
        case None:
            SubElement(verdict, "skipped", {"message": f"the job is {report.state}"})
        case "passed":
            pass
        case "failed":
            _failure(verdict, report.reason, "failed")
        case other:
            _failure(verdict, report.reason, other, tag="error")
    for t in report.thresholds:
        case = _case(suite, t.threshold, f"{report.name}.thresholds")
        _judge(case, t, report)
    return suite


def _judge(case: Element, t: ReportThreshold, report: Report) -> None:
    if t.ended_job:
        _failure(case, report.reason, "threshold")
    elif t.holds is None and (report.verdict is None or report.verdict in ("aborted", "error")):
        SubElement(case, "skipped", {"message": "nothing was measured"})
    elif not t.holds and report.verdict is not None and report.verdict != "passed":
        _failure(case, f"does not hold: {t.shown}", "threshold")
    else:
        SubElement(case, "system-out").text = _text(t.shown)


def _checks(root: Element, report: Report) -> Element:
    suite = _suite(root, report, "checks")
    for step in report.steps:
        if step.check:
            case = _case(suite, step.name, f"{report.name}.checks")
            words = f"held in {step.ok} of {step.ok + step.failed} sessions"
            _tell(case, words, report, broken=step.failed > 0)
    return suite


def _sessions(root: Element, report: Report, groups: Sequence[SessionGroup]) -> Element:
    suite = _suite(root, report, "sessions", sum(g.seconds for g in groups))
    for g in groups:
        case = _case(suite, f"{g.target} on {g.platform}", f"{report.name}.sessions", g.seconds)
        words = f"{g.failed} of {g.ok + g.failed} sessions failed"
        more = g.failed - len(g.failures)
        lines = [*g.failures, *([f"and {more} more"] if more else [])]
        _tell(case, words, report, broken=g.failed > 0, lines=lines)
    return suite


def _tell(case: Element, words: str, report: Report, *, broken: bool, lines: Sequence[str] = ()) -> None:
    if broken and report.verdict not in (None, "passed"):
        _failure(case, words, "sessions", lines)
    else:
        SubElement(case, "system-out").text = _text("\n".join([words, *lines]))


def _failure(
    case: Element, message: str, kind: str, lines: Sequence[str] = (), *, tag: str = "failure"
) -> None:
    failure = SubElement(case, tag, {"message": _text(message), "type": kind})
    failure.text = _text("\n".join([message, *lines]))


def _suite(root: Element, report: Report, name: str, took: float = 0.0) -> Element:
    began = report.started_at or report.submitted_at
    timestamp = datetime.fromtimestamp(min(max(began, 0.0), 1e11), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return SubElement(root, "testsuite", {"name": name, "time": _seconds(took), "timestamp": timestamp})


def _case(suite: Element, name: str, classname: str, took: float = 0.0) -> Element:
    return SubElement(
        suite, "testcase", {"name": _text(name), "classname": _text(classname), "time": _seconds(took)}
    )


def _tags(report: Report) -> Mapping[str, str]:
    tags = report.spec.get("tags")
    return tags if isinstance(tags, dict) else {}


def _seconds(value: float) -> str:
    return f"{max(0.0, value):.3f}"


def _text(text: str) -> str:
    return _NOT_XML.sub("�", text)
