"""The auditor agrees with an honest stream, and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config.messages import SessionRecord
from broker_config.streams import MAX_DELIVER
from broker_config.subjects import CONDUCTOR, session_record
from orchestrator.core.audit import Audit, audit
from tests.support.honest_job import (
    FIRST_SEQ,
    ID,
    SIZE,
    SPEC,
    T0,
    Case,
    Raw,
    by_conductor,
    changed,
    counted,
    folded,
    honest,
    kinds,
    read,
    superseded,
)

# --- an honest stream ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cancelled", [True, False])
def test_it_agrees_with_an_honest_stream(seed: int, cancelled: bool) -> None:
    case = honest(seed, cancelled=cancelled)
    report = case.audited()
    assert report.findings == [f for f in report.findings if f.kind == "superseded"]
    assert report.agrees
    assert report.counts == case.job.counts
    assert report.records == len(case.records)
    assert report.counts.superseded == len(report.findings) > 0
    assert case.job.verdict == ("aborted" if cancelled else "passed")


def test_it_agrees_with_bare_counts_and_with_progress() -> None:
    case = honest()
    assert case.audited(claimed=case.job.counts).agrees
    assert case.audited(claimed=case.checkpoint.progress).agrees


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_it_agrees_while_the_job_runs(share: float) -> None:
    case = honest()
    part = case.records[: int(len(case.records) * share)]
    _, checkpoint = folded(part, FIRST_SEQ, cancelled=True)
    running = case.with_job(
        state="running", verdict=None, counts=msgspec.structs.replace(case.job.counts, ok=0)
    )
    for claimed in (checkpoint, checkpoint.progress, checkpoint.progress and checkpoint.progress.counts):
        assert kinds(running.audited(claimed=claimed)) == set()
    late = running.audited(claimed=checkpoint).found.get("late", 0)
    assert late >= len(case.records) - len(part)
    # Claims ahead of the stream are not believed.
    assert "totals" in kinds(running.audited(part[: len(part) // 2], case.checkpoint.progress))


def test_records_after_the_end_are_notes() -> None:
    case = honest(cancelled=False)
    late = case.records[-1][0] + 3
    raw = case.records[counted(case)[5]]
    report = case.audited([*case.records, (late, raw[1], raw[2])])
    assert report.agrees
    assert report.found["late"] == 1


def test_swapping_records_of_different_sessions_changes_nothing() -> None:
    """Their order is not in any total; only floats, added in another order, may round otherwise."""
    case = honest(cancelled=False)
    middle = [i for i in counted(case) if i > 3]
    i, j = middle[10], middle[11]
    between = {read(case.records[k]).session for k in range(i, j + 1)}  # type: ignore[union-attr]
    records = list(case.records)
    records[i], records[j] = (
        (records[i][0], *records[j][1:]),
        (records[j][0], *records[i][1:]),
    )
    assert len(between) == j - i + 1
    assert case.audited(records).agrees


def test_one_attempt_number_above_one_is_as_good_as_another() -> None:
    """A runner that dies leaves no record, so the stream cannot show that attempt 2 was really the third."""
    case = honest(cancelled=False)
    index = next(i for i in counted(case) if getattr(read(case.records[i]), "attempt", 0) == 2)
    records = list(case.records)
    records[index] = changed(records[index], attempt=3)
    assert case.audited(records).agrees


# --- mutations of the records ----------------------------------------------------------------------------

Choose = Callable[[list[int]], int]
Mutation = Callable[[Case, Choose], list[Raw]]
MUTATIONS: dict[str, tuple[Mutation, set[str]]] = {}


def mutation(*expected: str) -> Callable[[Mutation], Mutation]:
    """The mutated stream must give at least one finding of the expected kinds."""

    def register(function: Mutation) -> Mutation:
        MUTATIONS[function.__name__] = (function, set(expected))
        return function

    return register


def replaced(case: Case, index: int, *raws: Raw) -> list[Raw]:
    return [*case.records[:index], *raws, *case.records[index + 1 :]]


def field_changed(case: Case, index: int, **fields: object) -> list[Raw]:
    return replaced(case, index, changed(case.records[index], **fields))


@mutation("missing")
def a_counted_record_is_dropped(case: Case, choose: Choose) -> list[Raw]:
    sole = [i for i in counted(case) if _sessions(case).count(read(case.records[i]).session) == 1]  # type: ignore[union-attr]
    return replaced(case, choose(sole))


@mutation("superseded-count")
def a_superseded_record_is_dropped(case: Case, choose: Choose) -> list[Raw]:
    return replaced(case, choose(superseded(case)))


@mutation("missing")
def a_record_of_the_conductor_is_dropped(case: Case, choose: Choose) -> list[Raw]:
    return replaced(case, choose(by_conductor(case)))


@mutation("missing")
def the_end_is_cut_off(case: Case, choose: Choose) -> list[Raw]:
    return case.records[: choose(list(range(len(case.records) - 30)))]


@mutation("missing")
def the_beginning_is_cut_off(case: Case, choose: Choose) -> list[Raw]:
    return case.records[choose(list(range(30, len(case.records)))) :]


@mutation("superseded-count")
def a_record_is_doubled(case: Case, choose: Choose) -> list[Raw]:
    index = choose(_before_a_gap(case))
    seq, subject, data = case.records[index]
    return replaced(case, index, case.records[index], (seq + 1, subject, data))


@mutation("order")
def a_record_is_delivered_twice(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    return replaced(case, index, case.records[index], case.records[index])


@mutation("order")
def records_are_reordered(case: Case, choose: Choose) -> list[Raw]:
    index = choose(list(range(1, len(case.records))))
    records = list(case.records)
    records[index - 1], records[index] = records[index], records[index - 1]
    return records


@mutation("totals", "metric")
def two_attempts_change_places(case: Case, choose: Choose) -> list[Raw]:
    pairs = [i for i in superseded(case) if i - 1 in counted(case)]
    index = choose([i for i in pairs if read(case.records[i]).session == read(case.records[i - 1]).session])  # type: ignore[union-attr]
    first, second = case.records[index - 1], case.records[index]
    records = list(case.records)
    records[index - 1], records[index] = (first[0], *second[1:]), (second[0], *first[1:])
    return records


@mutation("order")
def a_record_is_older_than_the_job(case: Case, choose: Choose) -> list[Raw]:
    raw = case.records[choose(counted(case))]
    return [(FIRST_SEQ, raw[1], raw[2]), *case.records]


@mutation("forged-runner")
def the_runner_is_forged(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), runner="mallory")


@mutation("forged-runner")
def the_writer_is_forged(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    seq, _, data = case.records[index]
    return replaced(case, index, (seq, session_record(ID, "mallory"), data))


@mutation("unreadable")
def a_runner_writes_as_the_conductor(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    seq, _, data = case.records[index]
    return replaced(case, index, (seq, session_record(ID, CONDUCTOR), data))


@mutation("unreadable")
def the_conductor_writes_as_a_runner(case: Case, choose: Choose) -> list[Raw]:
    index = choose(by_conductor(case))
    seq, _, data = case.records[index]
    return replaced(case, index, (seq, session_record(ID, "alpha"), data))


@mutation("forged-job")
def the_job_is_forged(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), job="j0other")


@mutation("forged-job")
def the_conductors_job_is_forged(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(by_conductor(case)), job="j0other")


@mutation("subject")
def a_record_is_another_jobs(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    seq, _, data = case.records[index]
    return replaced(case, index, (seq, session_record("j0other", "alpha"), data))


@mutation("subject")
def the_subject_is_none(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    seq, _, data = case.records[index]
    return replaced(case, index, (seq, f"job.progress.{ID}", data))


@mutation("outside-plan")
def a_session_is_foreign(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), session=choose([SIZE + 1, 0, -1, 2**40]))


@mutation("missing")
def a_session_is_renamed(case: Case, choose: Choose) -> list[Raw]:
    sole = [i for i in counted(case) if _sessions(case).count(read(case.records[i]).session) == 1]  # type: ignore[union-attr]
    index = choose(sole)
    other = read(case.records[choose([i for i in sole if i != index])])
    return field_changed(case, index, session=other.session)  # type: ignore[union-attr]


@mutation("unreadable")
def the_data_is_truncated(case: Case, choose: Choose) -> list[Raw]:
    index = choose(list(range(len(case.records))))
    seq, subject, data = case.records[index]
    return replaced(case, index, (seq, subject, data[: choose(list(range(len(data))))]))


@mutation("unreadable")
def the_data_is_no_record(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    rubbish = [b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"job": NaN}', b"1e999"]
    seq, subject, _ = case.records[index]
    return replaced(case, index, (seq, subject, rubbish[choose(list(range(len(rubbish))))]))


@mutation("unreadable")
def a_field_is_removed(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    seq, subject, data = case.records[index]
    fields = json.loads(data)
    del fields[["job", "session", "attempt", "status", "runner"][choose([0, 1, 2, 3, 4])]]
    return replaced(case, index, (seq, subject, json.dumps(fields).encode()))


@mutation("unreadable")
def a_field_has_another_type(case: Case, choose: Choose) -> list[Raw]:
    wrong: list[dict[str, object]] = [
        {"session": "7"}, {"session": 7.0}, {"attempt": True}, {"status": 1}, {"runner": None},
        {"ended_at": "now"}, {"measures": []}, {"measures": {"load": "1"}}, {"error": "x"}, {"saturated": 1},
        {"measures": {"bytes": 10**400}},
    ]  # fmt: skip
    return field_changed(case, choose(counted(case)), **wrong[choose(list(range(len(wrong))))])


@mutation("totals")
def a_status_is_changed(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    status = getattr(read(case.records[index]), "status", "")
    return field_changed(case, index, status="failed" if status != "failed" else "cancelled")


@mutation("status")
def a_status_is_unknown(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), status="splendid")


@mutation("status")
def a_runner_declares_a_session_lost(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), status="lost")


@mutation("status")
def the_conductor_declares_sessions_ok(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(by_conductor(case)), status="ok")


@mutation("attempt")
def sessions_are_lost_too_soon(case: Case, choose: Choose) -> list[Raw]:
    attempt = choose(list(range(MAX_DELIVER)))
    return field_changed(case, choose(by_conductor(case)), status="lost", attempt=attempt)


@mutation("status")
def an_ok_session_has_an_error(case: Case, choose: Choose) -> list[Raw]:
    index = choose([i for i in counted(case) if b'"ok"' in case.records[i][2]])
    return field_changed(case, index, error={"kind": "timeout"})


@mutation("status")
def a_failed_session_has_no_error(case: Case, choose: Choose) -> list[Raw]:
    index = choose([i for i in counted(case) if b'"failed"' in case.records[i][2]])
    return field_changed(case, index, error=None)


@mutation("errors")
def the_class_of_an_error_is_changed(case: Case, choose: Choose) -> list[Raw]:
    index = choose([i for i in counted(case) if b'"failed"' in case.records[i][2]])
    return field_changed(case, index, error={"kind": "weather"})


@mutation("attempt")
def an_attempt_is_impossible(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), attempt=choose([0, -1, 2 * MAX_DELIVER, 10**9]))


@mutation("totals")
def a_first_attempt_is_a_later_one(case: Case, choose: Choose) -> list[Raw]:
    first = [i for i in counted(case) if getattr(read(case.records[i]), "attempt", 0) == 1]
    return field_changed(case, choose(first), attempt=choose(list(range(2, 2 * MAX_DELIVER))))


@mutation("target")
def a_target_is_changed(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    old = json.loads(case.records[index][2])["target"]
    return field_changed(case, index, target="pay" if old != "pay" else "home")


@mutation("platform")
def a_platform_is_changed(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), platform="windows-msedge")


@mutation("platform")
def what_was_asked_for_is_changed(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), asked="macos-webkit")


@mutation("times")
def a_session_ends_before_it_starts(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), started_at=T0 + 10_000)


@mutation("times")
def a_time_is_none(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), ended_at=1e308 * choose([1, -1]))


@mutation("timeline")
def an_end_is_moved(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case)[3:])
    return field_changed(case, index, ended_at=json.loads(case.records[index][2])["ended_at"] + 30)


@mutation("metric")
def a_measure_is_changed(case: Case, choose: Choose) -> list[Raw]:
    index = choose([i for i in counted(case) if b'"cancelled"' not in case.records[i][2]])
    measures = json.loads(case.records[index][2])["measures"]
    name = ["ttfb", "bytes", "requests"][choose([0, 1, 2])]
    return field_changed(case, index, measures={**measures, name: measures[name] + 1})


@mutation("metric")
def a_measure_is_removed(case: Case, choose: Choose) -> list[Raw]:
    index = choose([i for i in counted(case) if b'"ok"' in case.records[i][2]])
    measures = json.loads(case.records[index][2])["measures"]
    del measures["load"]
    return field_changed(case, index, measures=measures)


@mutation("metric")
def a_duration_is_changed(case: Case, choose: Choose) -> list[Raw]:
    index = choose([i for i in counted(case) if b'"cancelled"' not in case.records[i][2]])
    return field_changed(case, index, duration_ms=choose([1, 100_000]))


@mutation("measure")
def a_measure_is_impossible(case: Case, choose: Choose) -> list[Raw]:
    return field_changed(case, choose(counted(case)), measures={"load": [-1.0, 1e300][choose([0, 1])]})


@mutation("totals")
def saturation_is_changed(case: Case, choose: Choose) -> list[Raw]:
    index = choose(counted(case))
    return field_changed(
        case, index, saturated=not json.loads(case.records[index][2]).get("saturated", False)
    )


@mutation("superseded-count")
def a_range_is_widened(case: Case, choose: Choose) -> list[Raw]:
    index, sessions = _a_range(case, choose)
    taken = {
        s
        for i in by_conductor(case)
        for a, b in json.loads(case.records[i][2])["sessions"]
        for s in range(a, b + 1)
    }
    at = choose([k for k, (_, b) in enumerate(sessions) if b < SIZE and b + 1 not in taken])
    sessions[at][1] += 1
    return field_changed(case, index, sessions=sessions)


@mutation("outside-plan")
def a_range_leaves_the_plan(case: Case, choose: Choose) -> list[Raw]:
    index, sessions = _a_range(case, choose)
    return field_changed(case, index, sessions=[*sessions, [SIZE + 1, SIZE + 1 + choose([0, 5])]])


@mutation("missing")
def a_range_is_narrowed(case: Case, choose: Choose) -> list[Raw]:
    index, sessions = _a_range(case, choose)
    both = _sessions(case)
    ends = [k for k, (_, b) in enumerate(sessions) if both.count(b) == 0]
    at = choose(ends)
    sessions[at][1] -= 1
    sessions = [[a, b] for a, b in sessions if a <= b]
    return field_changed(case, index, sessions=sessions)


@mutation("ranges", "unreadable")
def a_range_is_none(case: Case, choose: Choose) -> list[Raw]:
    index, sessions = _a_range(case, choose)
    odd: list[object] = [[], [[5, 4], *sessions], [[1]], ["1-2"], [*sessions, sessions[0]], [[1.0, 2]], 7]
    return field_changed(case, index, sessions=odd[choose(list(range(len(odd))))])


def _sessions(case: Case) -> list[int]:
    """Sessions of runners' records, once for each record."""
    return [r.session for r in map(read, case.records) if isinstance(r, SessionRecord)]


def _before_a_gap(case: Case) -> list[int]:
    seqs = [raw[0] for raw in case.records]
    return [i for i in counted(case) if i + 1 < len(seqs) and seqs[i + 1] > seqs[i] + 1]


def _a_range(case: Case, choose: Choose) -> tuple[int, list[list[int]]]:
    cancelled = [i for i in by_conductor(case) if b'"cancelled"' in case.records[i][2]]
    index = choose(cancelled)
    return index, json.loads(case.records[index][2])["sessions"]


@pytest.mark.parametrize("name", MUTATIONS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_mutated_stream_is_caught(name: str, data: st.DataObject) -> None:
    mutate, expected = MUTATIONS[name]
    case = honest()
    records = mutate(case, lambda options: data.draw(st.sampled_from(options)))
    assert records != case.records
    report = case.audited(records)
    assert kinds(report) & expected, report.findings[:10]


def test_there_are_mutations_enough() -> None:
    assert len(MUTATIONS) >= 24


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rubbish_in_any_field_is_never_a_crash(data: st.DataObject) -> None:
    case = honest()
    index = data.draw(st.sampled_from(range(len(case.records))))
    fields = json.loads(case.records[index][2])
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=4,
        )
    )
    report = case.audited(field_changed(case, index, **{name: value}))
    assert report.records == len(case.records)


def test_findings_name_session_and_sequence() -> None:
    case = honest()
    index = counted(case)[17]
    raw = case.records[index]
    session = json.loads(raw[2])["session"]
    report = case.audited(field_changed(case, index, target="nowhere"))
    (found,) = [f for f in report.findings if f.kind == "target"]
    assert (found.session, found.seq) == (session, raw[0])
    assert "'nowhere'" in found.text
    assert str(session) in found.text


def test_a_flood_of_findings_is_counted_in_full_and_listed_in_part() -> None:
    case = honest()
    books = Audit(case.job.spec, case.job, case.checkpoint)
    for seq in range(FIRST_SEQ + 1, FIRST_SEQ + 5_001):
        books.take(seq, session_record(ID, "alpha"), b"?")
    report = books.report()
    assert report.found["unreadable"] == 5_000
    assert len(report.findings) == 1_000


# --- the verdict -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["passed", "failed", "error", None])
def test_a_cancelled_job_is_aborted(wrong: str | None) -> None:
    assert "verdict" in kinds(honest().with_job(verdict=wrong).audited(claimed=honest().job.counts))


@pytest.mark.parametrize("wrong", ["aborted", "failed", "error", None])
def test_a_job_whose_thresholds_hold_has_passed(wrong: str | None) -> None:
    assert "verdict" in kinds(honest(cancelled=False).with_job(verdict=wrong).audited())


@pytest.mark.parametrize(
    "threshold",
    [
        "error_rate < 0.1%",
        "ok_rate > 99%",
        "load.max < 1",
        "load.p95 < 100ms",
        "load.mean > 60s",
        "inp.p75 < 1s",
        "load.count > 240",
        "failed == 0",
        "requests.min{platform=linux-firefox} > 80",
    ],
)
def test_a_broken_threshold_must_have_failed_the_job(threshold: str) -> None:
    case = honest(cancelled=False)
    spec = msgspec.structs.replace(case.job.spec, thresholds=[threshold])
    counts = case.job.counts
    assert "verdict" in kinds(case.with_job(spec=spec).audited(claimed=counts))
    assert "verdict" not in kinds(case.with_job(spec=spec, verdict="failed").audited(claimed=counts))


def test_a_percentile_at_the_limit_may_be_judged_either_way() -> None:
    case = honest(cancelled=False)
    p95 = case.checkpoint.total.metrics["load"].quantile(0.95)
    spec = msgspec.structs.replace(case.job.spec, thresholds=[f"load.p95 < {p95:.6f}"])
    for either in ("passed", "failed"):
        assert "verdict" not in kinds(
            case.with_job(spec=spec, verdict=either).audited(claimed=case.job.counts)
        )


def test_a_job_with_lost_sessions_is_an_error() -> None:
    case = honest(cancelled=False)
    index = by_conductor(case)[0]
    records = field_changed(case, index, status="lost", attempt=MAX_DELIVER, error={"kind": "lost"})
    job, checkpoint = folded(records, FIRST_SEQ, cancelled=False)
    assert job.verdict == "error"
    assert audit(SPEC, job, records, checkpoint).agrees
    passed = msgspec.structs.replace(job, verdict="passed")
    assert "verdict" in kinds(audit(SPEC, passed, records, checkpoint))


def test_a_job_that_runs_has_no_verdict() -> None:
    case = honest().with_job(state="running")
    assert "verdict" in kinds(case.audited())
