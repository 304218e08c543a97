"""The auditor on what a checkpoint says beside counts and metrics, and on jobs that a threshold has ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config import codec
from broker_config.job import Checkpoint, ErrorExample
from broker_config.threshold import ThresholdRule
from orchestrator.core.audit import AuditReport, audit
from orchestrator.core.audit.early_end import EarlyEnd
from tests.support.rich_job import Rich, rich, with_job
from tests.unit.test_alarm import Watched, rule

RICH = rich()


def audited(case: Rich, checkpoint: Checkpoint | None = None) -> AuditReport:
    return audit(case.job.spec, case.job, case.records, checkpoint or case.checkpoint)


def kinds(report: AuditReport) -> set[str]:
    return {f.kind for f in report.findings if f.is_fault}


@pytest.mark.parametrize(
    "case", [RICH, rich(lost=4), rich(calm=True), rich(thresholds=['step["pay"].p90 < 1ms'])]
)
def test_it_agrees_with_an_honest_checkpoint(case: Rich) -> None:
    report = audited(case)
    assert report.agrees, report.findings[:5]


def _step(cp: Checkpoint) -> None:
    cp.steps["pay"].failed += 1


def _step_time(cp: Checkpoint) -> None:
    cp.steps["pay"].time.max += 1


def _step_name(cp: Checkpoint) -> None:
    cp.steps["buy"] = cp.steps.pop("pay")


def _calm(cp: Checkpoint) -> None:
    cp.calm["load"].sum *= 1.01


def _no_calm(cp: Checkpoint) -> None:
    cp.calm.clear()


def _start_error(cp: Checkpoint) -> None:
    cp.total.metrics["start_error"].count += 1


def _faults(cp: Checkpoint) -> None:
    cp.total.faults += 1


def _example(cp: Checkpoint) -> None:
    cp.examples["timeout"][0] = ErrorExample(1)


def _no_examples(cp: Checkpoint) -> None:
    del cp.examples["timeout"]


def _refused(cp: Checkpoint) -> None:
    cp.refused.clear()


def _third_party(cp: Checkpoint) -> None:
    cp.third_parties["https://cdn.example"] -= 1


def _upstream(cp: Checkpoint) -> None:
    cp.upstreams["direct"] = 1


CHANGES: dict[Callable[[Checkpoint], None], str] = {
    _step: "steps",
    _step_time: "metric",
    _step_name: "steps",
    _calm: "metric",
    _no_calm: "metric",
    _start_error: "metric",
    _faults: "totals",
    _example: "errors",
    _no_examples: "errors",
    _refused: "origins",
    _third_party: "origins",
    _upstream: "origins",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__.strip("_"))
def test_a_checkpoint_that_says_otherwise_is_found_out(change: Callable[[Checkpoint], None]) -> None:
    checkpoint = codec.decode(codec.encode(RICH.checkpoint), Checkpoint)
    change(checkpoint)
    assert CHANGES[change] in kinds(audited(RICH, checkpoint))


def test_a_step_threshold_is_judged_again() -> None:
    case = rich(thresholds=['step["pay"].p90 < 10s'])
    assert case.job.verdict == "passed"
    assert audited(case).agrees
    assert "verdict" in kinds(audited(with_job(case, verdict="failed")))


# --- ended by a threshold --------------------------------------------------------------------------------


def ended(case: Rich, reason: str) -> Rich:
    case = with_job(case, ended_by="threshold", desired="cancel", verdict="failed", reason=reason)
    progress = msgspec.structs.replace(case.checkpoint.progress, verdict="failed", reason=reason)
    case.checkpoint.progress = progress
    return case


@pytest.mark.parametrize(
    ("threshold", "could"),
    [
        ({"threshold": "error_rate < 2%", "abort_on_fail": True}, True),
        ({"threshold": "error_rate < 12%", "abort_on_fail": True}, False),
        ({"threshold": "error_rate < 12%", "abort_on_fail": True, "window": "10s"}, True),
        ({"threshold": "error_rate < 2%"}, False),
        ({"threshold": "load.p95 < 1s", "abort_on_fail": True}, True),
        ({"threshold": "load.p95 < 20s", "abort_on_fail": True}, False),
        ({"threshold": "failed >= 5", "abort_on_fail": True}, False),
        ({"threshold": 'step["pay"].max < 1s', "abort_on_fail": True}, True),
    ],
)
def test_a_threshold_that_ended_the_job_must_have_been_broken(threshold: dict[str, Any], could: bool) -> None:
    text = threshold["threshold"]
    case = ended(rich(thresholds=[threshold]), f"ended early: {text} does not hold (was …)")
    assert ("verdict" in kinds(audited(case))) is not could


def test_a_job_that_nobody_ended_early_is_not_failed_by_words() -> None:
    case = ended(
        rich(thresholds=["error_rate < 50%"]), "ended early: error_rate < 50% does not hold (was 60%)"
    )
    assert "verdict" in kinds(audited(case))
    assert "verdict" in kinds(audited(with_job(case, ended_by="", verdict="failed")))


EXPRESSIONS = (
    "error_rate < 30%",
    "ok_rate > 60%",
    "failed < 3",
    "load.p50 < 500ms",
    "load.p90 <= 800ms",
    "load.p10 > 100ms",
    "load.mean < 500ms",
    "load.max < 900ms",
    "load.min >= 50ms",
    "load.count < 20",
    "load.p75{target=b} < 500ms",
)


@settings(max_examples=150)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from([{}, {"window": "5s"}, {"window": "60s"}]),
    st.lists(
        st.tuples(st.floats(0, 4), st.sampled_from(["ok", "ok", "ok", "failed"]), st.floats(1, 1_000)),
        max_size=60,
    ),
)
def test_whatever_ends_a_job_the_auditor_has_seen_too(
    expression: str, fields: dict[str, Any], sessions: list[tuple[float, Any, float]]
) -> None:
    job = Watched(rule(expression, **fields))
    early = EarlyEnd(msgspec.convert(rule(expression, **fields), ThresholdRule, dec_hook=codec.dec_hook))
    at = 1.0
    words = ""
    for gap, status, load in sessions:
        at += gap
        session = job.fold.done.count + 1
        job.end(at, status, load)
        target = job.spec.targets[job.fold.plan.target(session)].label
        early.take(1_790_003_600.0 + at, status, target, "linux-chromium", {"load": load}, [])
        words = words or job.look(at)
        assert early.could or not words
    for later in range(1, 80):
        words = words or job.look(at + later)
    early.end()
    assert early.could or not words


def test_steps_are_part_of_it() -> None:
    early = EarlyEnd(ThresholdRule(threshold='step["pay"].max < 1s', abort_on_fail=True))
    for ms, good, could in ((900.0, True, False), (2_000.0, False, False), (2_000.0, True, True)):
        early.take(1.0, "ok", "home", "linux-chromium", {}, [("pay", ms, good)])
        assert early.could is could


@pytest.mark.parametrize("field", ["steps", "refused", "third_parties", "upstreams"])
def test_a_record_with_a_field_of_another_kind_is_unreadable(field: str) -> None:
    case = rich(running=True)
    seq, subject, data = case.records[0]
    bad = json.dumps({**json.loads(data), field: 7}).encode()
    assert "unreadable" in audit(case.job.spec, case.job, [(seq, subject, bad)], case.job.counts).found
