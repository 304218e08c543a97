"""Thresholds on steps: read, folded, judged."""

from __future__ import annotations

import re

import pytest

from broker_config import codec
from broker_config.job import Checkpoint
from broker_config.job_spec import read_spec
from broker_config.messages import SessionRecord, SessionStatus, StepRecord
from broker_config.threshold import parse
from orchestrator.core.fold import MAX_STEP_NAMES, Fold
from orchestrator.core.plan import Plan
from orchestrator.core.verdict import judge, measure
from runner.core.failure import Evidence, classify

PAY = 'step["pay"].p90 < 4s'


def a_plan(sessions: int = 10) -> Plan:
    return Plan("j", read_spec({"targets": [{"url": "http://a.test/"}], "sessions": sessions, "seed": 1}))


def apply(fold: Fold, session: int, *steps: StepRecord, status: SessionStatus = "ok") -> None:
    fold.apply(
        session,
        SessionRecord(job="j", session=session, attempt=1, status=status, runner="r", steps=list(steps)),
    )


@pytest.mark.parametrize(
    ("text", "step", "aggregate", "limit"),
    [
        (PAY, "pay", "quantile", 4000),
        ("step['goto /cart'].max<=900ms", "goto /cart", "max", 900),
        ("""step['click button "Pay"'].mean < 1""", 'click button "Pay"', "mean", 1),
        ('  step["a].p90 < 1"].count >= 3 ', "a].p90 < 1", "count", 3),
    ],
)
def test_expressions(text: str, step: str, aggregate: str, limit: float) -> None:
    t = parse(text)
    assert (t.metric, t.step, t.aggregate, t.limit) == ("step", step, aggregate, limit)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step.p90 < 4s", "does not say which step"),
        ("step[pay].p90 < 4s", "is not a threshold"),
        ('step[""].p90 < 4s', "is not a threshold"),
        ('step["pay"] < 4s', "needs an aggregate after step"),
        ('step["pay"].p90 < 4MB', "unit 'MB' does not fit step; allowed: ms, s, m"),
        ('step["pay"].p90{target=a} < 4s', "a step takes no filter"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(text)


def test_the_times_of_steps_that_succeeded_are_judged() -> None:
    fold = Fold(a_plan())
    assert measure(parse(PAY), fold) is None
    for n in range(1, 9):
        apply(fold, n, StepRecord(name="pay", ms=1000.0 * n), StepRecord(name="other", ms=1))
    failed = StepRecord(name="pay", ms=60_000.0, ok=False, error="x")
    apply(fold, 9, failed, status="failed")
    apply(fold, 9, StepRecord(name="pay", ms=9e9))  # superseded
    cell = fold.steps["pay"]
    assert (cell.ok, cell.failed, cell.time.count, cell.time.max) == (8, 1, 8, 8000)
    p50 = measure(parse('step["pay"].p50 < 4s'), fold)
    assert p50 == pytest.approx(4000, rel=0.02)
    assert measure(parse('step["pay"].count > 0'), fold) == 8
    verdict = judge([parse(PAY)], fold, cancelled=False)
    assert verdict.verdict == "failed"
    assert PAY in verdict.reason
    assert judge([parse('step["pay"].max < 9s')], fold, cancelled=False).verdict == "passed"
    assert judge([parse('step["gone"].max < 9s')], fold, cancelled=False).verdict == "failed"


def test_steps_survive_a_checkpoint_and_their_number_is_bounded() -> None:
    plan = a_plan(100)
    fold = Fold(plan)
    for n in range(1, 80):
        apply(fold, n, StepRecord(name=f"step {n}", ms=5))
    assert len(fold.steps) == MAX_STEP_NAMES
    stored = codec.decode(codec.encode(fold.checkpoint(0)), Checkpoint)
    again = Fold(plan, stored)
    apply(again, 90, StepRecord(name="step 1", ms=7))
    assert (again.steps["step 1"].ok, again.steps["step 1"].time.max) == (2, 7)


@pytest.mark.parametrize(
    ("evidence", "kind", "infrastructure"),
    [
        (Evidence(error="Timeout", step="step 1, x"), "step_failed", False),
        (Evidence(error="x", step="step 1, x", browser_gone=True), "browser_crashed", True),
        (Evidence(error="x", step="step 1, x", page_crashed=True), "page_crashed", False),
        (Evidence(step="step 1, x", session_limit=5.0), "session_timeout", False),
        (
            Evidence(
                error="x",
                step="step 1, x",
                navigating=True,
                request_failure="net::ERR_TUNNEL_CONNECTION_FAILED",
            ),
            "egress_failed",
            True,
        ),
        (
            Evidence(error="x", step="step 1, x", navigating=True, request_failure="net::ERR_EMPTY_RESPONSE"),
            "step_failed",
            False,
        ),
    ],
)
def test_a_failed_step_is_the_sites_failure_unless_something_graver_is_seen(
    evidence: Evidence, kind: str, infrastructure: bool
) -> None:
    info = classify(evidence)
    assert info is not None
    assert (info.kind, info.infrastructure) == (kind, infrastructure)
