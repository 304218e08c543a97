from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.job_spec import read_spec
from broker_config.messages import ConductorRecord, Measures, SessionRecord, SessionStatus
from broker_config.threshold import parse
from orchestrator.core.fold import Fold
from orchestrator.core.plan import Plan
from orchestrator.core.verdict import holds, judge, measure

TARGETS = ("home", "shop")


def fold_of(statuses: Sequence[SessionStatus], loads: Sequence[float] = ()) -> Fold:
    """A fold of that many sessions on two targets; the n-th that ran has load `loads[n]`."""
    spec = read_spec(
        {
            "targets": [
                {"url": "http://127.0.0.1:1/", "name": "home"},
                {"url": "http://127.0.0.1:2/", "name": "shop"},
            ],
            "sessions": len(statuses),
            "seed": 3,
        }
    )
    fold = Fold(Plan("j", spec))
    values = iter(loads)
    for session, status in enumerate(statuses, 1):
        if status in ("ok", "failed"):
            fold.apply(
                session,
                SessionRecord(
                    job="j",
                    session=session,
                    attempt=1,
                    status=status,
                    runner="r",
                    measures=Measures(load=next(values, None)),
                ),
            )
        else:
            fold.apply(
                session, ConductorRecord(job="j", sessions=[(session, session)], status=status, at=1.0)
            )
    return fold


def judged(fold: Fold, *thresholds: str, cancelled: bool = False) -> tuple[str | None, str]:
    return judge([parse(t) for t in thresholds], fold, cancelled=cancelled)


def test_passed_when_nothing_speaks_against_it() -> None:
    assert judged(fold_of(["ok", "failed"])) == ("passed", "")
    assert judged(fold_of(["ok", "ok"], [10, 20]), "load.max < 21", "error_rate == 0%") == ("passed", "")


@pytest.mark.parametrize(
    ("statuses", "thresholds", "cancelled", "verdict", "words"),
    [
        (["ok", "failed"], ["error_rate < 50%"], False, "failed", "error_rate < 50% (was 50.00%)"),
        (
            ["ok", "failed"],
            ["failed == 0", "ok == 2"],
            False,
            "failed",
            "failed == 0 (was 1); ok == 2 (was 1)",
        ),
        (["ok"], ["inp.p75 < 1s"], False, "failed", "nothing was measured"),
        (["ok", "lost"], ["error_rate < 1%"], False, "error", "1 of 2 sessions were lost"),
        (["dropped", "cancelled"], [], False, "error", "no session ran"),
        (["ok", "cancelled", "cancelled"], ["ok == 3"], True, "aborted", "cancelled with 2 sessions not run"),
        (["ok", "lost"], [], True, "aborted", "cancelled"),
    ],
)
def test_the_gravest_finding_wins(
    statuses: list[SessionStatus], thresholds: list[str], cancelled: bool, verdict: str, words: str
) -> None:
    found, reason = judged(fold_of(statuses), *thresholds, cancelled=cancelled)
    assert found == verdict
    assert words in reason


def test_the_reason_of_a_cancel_is_kept() -> None:
    assert judge([], fold_of(["cancelled"]), cancelled=True, reason="enough") == ("aborted", "enough")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("load.min < 1", 10.0),
        ("load.max < 1", 40.0),
        ("load.mean < 1", 25.0),
        ("load.count < 1", 4.0),
        ("load.p100 < 1", 40.0),
        ("ok < 1", 4.0),
        ("failed < 1", 1.0),
        ("cancelled < 1", 1.0),
        ("lost < 1", 1.0),
        ("dropped < 1", 1.0),
        ("error_rate < 1", 2 / 6),
        ("ok_rate < 1", 4 / 6),
        ("inp.p50 < 1", None),
        ("inp.count < 1", 0.0),
        ("load.max{target=nowhere} < 1", None),
    ],
)
def test_what_a_threshold_measures(text: str, value: float | None) -> None:
    fold = fold_of(["ok", "ok", "ok", "ok", "failed", "lost", "cancelled", "dropped"], [10, 20, 30, 40])
    assert measure(parse(text), fold) == value


def test_a_filter_measures_its_group_only() -> None:
    fold = fold_of(["ok"] * 20, [float(n) for n in range(1, 21)])
    by_target = {
        label: [float(s) for s in range(1, 21) if fold.plan.target(s) == i] for i, label in enumerate(TARGETS)
    }
    for label, values in by_target.items():
        assert measure(parse(f"load.max{{target={label}}} < 1"), fold) == max(values)
        assert measure(parse(f"ok{{target={label}}} < 1"), fold) == len(values)
    assert measure(parse("ok{platform=linux-chromium} < 1"), fold) == 20


def test_nothing_measured_yet_is_neither_true_nor_false() -> None:
    fold = fold_of(["ok", "ok"], [10])
    texts = ["load.max < 11", "load.max < 9", "inp.max < 1", "error_rate < 1%"]
    assert list(holds([parse(t) for t in texts], fold).values()) == [True, False, None, True]
    assert measure(parse("error_rate < 1%"), Fold(fold.plan)) is None


@given(st.integers(1, 60), st.data())
def test_rates_are_exact_at_their_limit(ran: int, data: st.DataObject) -> None:
    """95 of 100 is 95 %, neither less nor more, however floats round."""
    ok = data.draw(st.integers(0, ran))
    statuses: list[SessionStatus] = ["ok" if i < ok else "failed" for i in range(ran)]
    fold = fold_of(statuses)
    for name, n in (("ok_rate", ok), ("error_rate", ran - ok)):
        actual = measure(parse(f"{name} < 1"), fold)
        assert actual == n / ran
        percent = 100 * n / ran
        if percent == int(percent):
            for operator, expected in ((">=", True), ("<=", True), ("==", True), ("<", False), (">", False)):
                threshold = parse(f"{name} {operator} {int(percent)}%")
                assert threshold.holds(n / ran) is expected
                assert holds([threshold], fold) == {threshold.text: expected}


def test_a_job_in_which_only_the_infrastructure_failed_is_an_error() -> None:
    from broker_config.messages import ErrorInfo, SessionRecord

    plan = Plan("j", read_spec({"targets": [{"url": "http://127.0.0.1/"}], "sessions": 2}))
    for infrastructure, verdict in ((True, "error"), (False, "passed")):
        fold = Fold(plan)
        for n in (1, 2):
            error = ErrorInfo(kind="x", infrastructure=infrastructure)
            record = SessionRecord(
                job="j", session=n, attempt=1, status="failed", runner="r", error=error, ended_at=1.0
            )
            fold.apply(n, record)
        assert judge([], fold, cancelled=False).verdict == verdict
