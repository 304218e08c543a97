"""Thresholds that end a job: when, why, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from broker_config import codec
from broker_config.errors import SpecError
from broker_config.job import Checkpoint
from broker_config.job_spec import MAX_THRESHOLDS, JobSpec, read_spec
from broker_config.messages import ConductorRecord, Measures, SessionRecord
from orchestrator.core.alarm import LOOK_EVERY, Alarm
from orchestrator.core.fold import Fold
from orchestrator.core.plan import Plan

#: The stream's clock, and the conductor's, which is an hour behind.
STREAM, CLOCK = 1_790_003_600.0, 1_790_000_000.0
SIZE = 200


def spec_of(*rules: Any) -> JobSpec:
    return read_spec(
        {
            "targets": [
                {"url": "http://127.0.0.1:1/", "name": "home"},
                {"url": "http://127.0.0.1:1/b", "name": "b"},
            ],
            "sessions": SIZE,
            "seed": 1,
            "thresholds": list(rules),
        }
    )


def rule(threshold: str, **fields: Any) -> dict[str, Any]:
    return {"threshold": threshold, "abort_on_fail": True, **fields}


class Watched:
    """A job whose sessions end one by one, at seconds after its start."""

    def __init__(self, *rules: Any, checkpoint: Checkpoint | None = None) -> None:
        self.spec = spec_of(*rules)
        self.fold = Fold(Plan("j", self.spec), checkpoint)
        self.alarm = Alarm(self.spec, self.fold, resumed=checkpoint is not None)

    def end(self, at: float, status: Any = "ok", load: float | None = None) -> None:
        session = self.fold.done.count + 1
        record = SessionRecord(
            job="j", session=session, attempt=1, status=status, runner="r", measures=Measures(load=load)
        )
        self.fold.apply(self.fold.seq + 1, record, STREAM + at)

    def look(self, at: float) -> str:
        return self.alarm.look(CLOCK + at, CLOCK)


def test_it_ends_a_job_as_soon_as_the_threshold_does_not_hold() -> None:
    job = Watched(rule("error_rate < 30%"), "load.p95 < 1ms")
    for at, status in ((1, "ok"), (2, "ok"), (3, "failed")):
        job.end(at, status, load=900.0)
        assert job.look(at) == "" or status == "failed"
    assert job.look(4) == "ended early: error_rate < 30% does not hold (was 33.33%)"


def test_a_threshold_that_only_judges_ends_nothing() -> None:
    job = Watched("error_rate < 1%", {"threshold": "load.p95 < 1ms"})
    job.end(1, "failed", load=900.0)
    assert job.look(1) == ""


def test_not_before_the_delay() -> None:
    job = Watched(rule("load.mean < 100ms", delay="10s"))
    job.end(1, load=200.0)
    assert [bool(job.look(at)) for at in (1, 9.5, 10)] == [False, False, True]


def test_not_before_the_job_has_started() -> None:
    job = Watched(rule("load.mean < 100ms"))
    job.end(1, load=200.0)
    assert job.alarm.look(CLOCK, None) == ""


@pytest.mark.parametrize("fields", [{}, {"window": "30s"}])
def test_nothing_measured_ends_nothing(fields: dict[str, Any]) -> None:
    job = Watched(
        rule("load.p95 < 1ms", **fields), rule("error_rate < 1%", **fields), rule("lost < 1", **fields)
    )
    assert job.look(1) == ""
    error_free = ConductorRecord(job="j", sessions=[(1, 3)], status="dropped", at=1.0)
    job.fold.apply(1, error_free, STREAM + 1)
    assert job.look(2) == ""


def test_a_number_that_grows_may_still_come() -> None:
    job = Watched(rule("ok >= 50"), rule("load.count == 60"))
    job.end(1, load=1.0)
    assert job.look(1) == ""
    too_many = Watched(rule("failed < 2"))
    too_many.end(1, "failed")
    assert too_many.look(1) == ""
    too_many.end(2, "failed")
    assert too_many.look(2) == "ended early: failed < 2 does not hold (was 2)"


def test_over_a_window_the_past_is_forgotten() -> None:
    whole, window = Watched(rule("load.max < 1s")), Watched(rule("load.max < 1s", window="10s", delay="30s"))
    for job in (whole, window):
        job.end(1, load=5_000.0)
        job.end(29, load=10.0)
        assert (job.look(31) != "") == (job is whole)
    window.end(32, load=2_500.0)
    assert window.look(32) == "ended early: load.max < 1s does not hold (was 2500 ms over the last 10s)"


def test_a_window_empties_when_nothing_ends_any_more() -> None:
    job = Watched(rule("error_rate < 50%", window="10s", delay="60s"))
    job.end(5, "failed")
    assert job.look(5) == ""  # too early, and the last that is heard of it
    assert job.look(70) == ""
    waiting = Watched(rule("error_rate < 50%", window="10s", delay="8s"))
    waiting.end(5, "failed")
    assert waiting.look(5) == ""
    assert waiting.look(8) != ""


def test_a_window_is_empty_after_a_takeover_and_judged_when_it_was_filled() -> None:
    first = Watched(rule("error_rate < 50%", window="10s"))
    for at in range(5):
        first.end(at, "ok")
    half = codec.decode(codec.encode(first.fold.checkpoint(1)), Checkpoint)
    second = Watched(rule("error_rate < 50%", window="10s"), checkpoint=half)
    assert second.look(6) == ""
    second.end(7, "failed")
    assert second.look(7) == ""
    second.end(15, "failed")
    assert second.look(15.9) == ""
    assert second.look(16.2) == "ended early: error_rate < 50% does not hold (was 100.00% over the last 10s)"
    whole = Watched(rule("ok < 5"), checkpoint=half)
    assert whole.look(6) != ""  # what is not of a window is in the checkpoint


def test_looks_are_conflated() -> None:
    job = Watched(rule("failed < 1"))
    job.end(1)
    assert job.look(1) == ""
    job.end(1, "failed")
    assert job.look(1 + LOOK_EVERY / 2) == ""
    assert job.look(1 + LOOK_EVERY) != ""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"threshold": "load.p95 < 1s", "window": "10s"}, "add abort_on_fail: true"),
        ({"threshold": "load.p95 < 1s", "delay": "10s"}, "add abort_on_fail: true"),
        (rule("load.p95 < 1s", window="0s"), "a window of 0ms is too short; use 1s or more"),
        (rule("load < 1s"), "needs an aggregate"),
        (rule("load.p95{target=nowhere} < 1s"), "the job has no target 'nowhere'"),
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as e:
        spec_of("error_rate < 1%", wrong)
    (problem,) = e.value.problems
    assert problem.where == "thresholds[1]"
    assert words in problem.what


def test_thresholds_are_bounded() -> None:
    spec_of(*["error_rate < 1%"] * MAX_THRESHOLDS)
    with pytest.raises(SpecError, match="thresholds"):
        spec_of(*["error_rate < 1%"] * (MAX_THRESHOLDS + 1))
