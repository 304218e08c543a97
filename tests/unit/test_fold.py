"""The fold: whatever comes, every planned session counts once, by its first record."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import codec
from broker_config.errors import MessageError
from broker_config.job import (
    MAX_CHECKPOINT_BYTES,
    MAX_TIME_BUCKETS,
    Cell,
    Checkpoint,
    TimeBucket,
    packed,
    read_checkpoint,
    write_checkpoint,
)
from broker_config.job_spec import read_spec
from broker_config.messages import STATUSES, ConductorRecord, ErrorInfo, Measures, SessionRecord, StepRecord
from broker_config.sketch import HIGHEST, LOWEST, Sketch
from orchestrator.core.fold import (
    MAX_ERROR_KINDS,
    MAX_SUPERSEDED_RECORDS,
    MAX_TARGET_CELLS,
    METRICS,
    OTHER_TARGETS,
    Fold,
    summary,
)
from orchestrator.core.plan import Plan

Record = SessionRecord | ConductorRecord
T = TypeVar("T", int, float)

SIZE = 20
PLAN = Plan(
    "j",
    read_spec(
        {
            "targets": [
                {"url": f"http://127.0.0.1:1/{i}", "name": f"t{i}", "share": i + 1} for i in range(3)
            ],
            "sessions": SIZE,
            "platforms": ["linux-chromium", "linux-firefox"],
            "seed": 9,
        }
    ),
)

statuses = st.sampled_from(STATUSES)
errors = st.none() | st.builds(ErrorInfo, kind=st.sampled_from(["timeout", "http_status", "x" * 80]))
#: From a clock that is years behind to one that is years ahead.
times = st.floats(0, 4e9) | st.floats(1.79e9, 1.79e9 + 2_000)
values = st.none() | st.floats(0, 1e6)


def measures() -> st.SearchStrategy[Measures]:
    whole = st.none() | st.integers(0, 10**7)
    return st.builds(Measures, load=values, ttfb=values, cls=values, bytes=whole, requests=whole)


def session_records(sessions: st.SearchStrategy[int]) -> st.SearchStrategy[SessionRecord]:
    return st.builds(
        SessionRecord,
        job=st.just("j"),
        session=sessions,
        attempt=st.integers(1, 4),
        status=statuses,
        runner=st.sampled_from("abc"),
        ended_at=times,
        duration_ms=st.floats(0, 1e5),
        error=errors,
        saturated=st.booleans(),
        measures=measures(),
    )


def conductor_records(first: st.SearchStrategy[int]) -> st.SearchStrategy[ConductorRecord]:
    pair = st.tuples(first, st.integers(0, 6)).map(lambda p: (p[0], p[0] + p[1]))
    return st.builds(
        ConductorRecord,
        job=st.just("j"),
        sessions=st.lists(pair, max_size=3),
        status=statuses,
        at=times,
        error=errors,
    )


anywhere = st.integers(-3, SIZE + 4)
streams = st.lists(session_records(anywhere) | conductor_records(anywhere), max_size=40)


def folded(records: Sequence[Record], fold: Fold | None = None, start: int = 1) -> Fold:
    fold = fold or Fold(PLAN)
    for seq, record in enumerate(records, start):
        fold.apply(seq, record)
    return fold


def named(record: Record) -> list[int]:
    """The planned sessions that the record names, as often as it does."""
    if isinstance(record, SessionRecord):
        found = [record.session]
    else:
        found = [s for a, b in record.sessions for s in range(a, b + 1)]
    return [s for s in found if 1 <= s <= SIZE]


def firsts(records: Sequence[Record]) -> dict[int, Record]:
    out: dict[int, Record] = {}
    for record in records:
        for session in named(record):
            out.setdefault(session, record)
    return out


def record(
    session: int, *, status: Any = "ok", at: float = 100.0, load: float | None = None
) -> SessionRecord:
    return SessionRecord(
        job="j",
        session=session,
        attempt=1,
        status=status,
        runner="r",
        ended_at=at,
        measures=Measures(load=load),
    )


def ended(cell: Cell) -> int:
    return cell.ok + cell.failed + cell.cancelled + cell.lost + cell.dropped


def state(fold: Fold) -> bytes:
    return codec.encode(fold.checkpoint(0))


@given(streams)
def test_every_session_counts_once_by_its_first_record(records: list[Record]) -> None:
    fold = folded(records)
    first = firsts(records)
    assert fold.done.count == ended(fold.total) == len(first)
    assert {s for s in range(1, SIZE + 1) if s in fold.done} == first.keys()
    by_status = Counter(r.status for r in first.values())
    assert {s: getattr(fold.total, s) for s in STATUSES} == {s: by_status[s] for s in STATUSES}
    assert fold.superseded == sum(len(named(r)) for r in records) - len(first)
    assert fold.finished == (len(first) == SIZE)
    counted = [r for r in first.values() if isinstance(r, SessionRecord)]
    assert fold.total.retried == sum(r.attempt > 1 for r in counted)
    assert fold.total.saturated == sum(r.saturated for r in counted)
    foreign = [r for r in records if isinstance(r, SessionRecord) and not 1 <= r.session <= SIZE]
    assert fold.foreign == len(foreign)


@given(streams)
def test_apply_names_the_sessions_that_it_counted(records: list[Record]) -> None:
    fold = Fold(PLAN)
    seen: list[int] = []
    for seq, record in enumerate(records, 1):
        counted = fold.apply(seq, record)
        assert counted == sorted(set(counted), key=counted.index)
        assert set(counted) == set(named(record)) - set(seen)
        seen += counted


@given(streams)
def test_targets_and_platforms_sum_to_the_total(records: list[Record]) -> None:
    fold = folded(records)
    for cells in (fold.targets, fold.platforms):
        for name in ("planned", *STATUSES, "retried", "saturated"):
            assert sum(getattr(c, name) for c in cells.values()) == getattr(fold.total, name)
        for metric, sketch in fold.total.metrics.items():
            parts = [c.metrics[metric] for c in cells.values() if metric in c.metrics]
            assert sum(p.count for p in parts) == sketch.count
            assert min(p.min for p in parts) == sketch.min
            assert max(p.max for p in parts) == sketch.max
            buckets: Counter[int] = Counter()
            for p in parts:
                buckets.update(p.buckets)
            assert buckets == sketch.buckets
    for cell in (*fold.targets.values(), *fold.platforms.values()):
        assert ended(cell) <= cell.planned


@given(streams)
def test_measures_are_those_of_counted_sessions_that_ran(records: list[Record]) -> None:
    fold = folded(records)
    ran = [
        r for r in firsts(records).values() if isinstance(r, SessionRecord) and r.status in ("ok", "failed")
    ]
    expected: dict[str, list[float]] = {}
    for r in ran:
        for metric in METRICS:
            value = getattr(r.measures, metric)
            if value is not None:
                expected.setdefault(metric, []).append(value)
        if r.duration_ms:
            expected.setdefault("duration", []).append(r.duration_ms)
    assert fold.total.metrics.keys() == expected.keys()
    for metric, found in expected.items():
        sketch = fold.total.metrics[metric]
        assert (sketch.count, sketch.min, sketch.max) == (len(found), min(found), max(found))
        assert sketch.sum == pytest.approx(sum(found))


def test_every_measure_but_the_http_status_is_summarised() -> None:
    assert {*METRICS, "http_status"} == set(Measures.__struct_fields__)


@given(streams, st.data())
def test_folding_in_two_halves_through_a_checkpoint_is_folding_at_once(
    records: list[Record], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(records)))
    half = codec.decode(state(folded(records[:cut])), Checkpoint)
    resumed = folded(records[cut:], Fold(PLAN, half), start=cut + 1)
    assert state(resumed) == state(folded(records))


@given(streams, st.data())
def test_replaying_is_harmless(records: list[Record], data: st.DataObject) -> None:
    fold = folded(records)
    before, foreign = state(fold), fold.foreign
    for seq in data.draw(st.lists(st.integers(1, max(1, len(records))), max_size=20)):
        if seq <= len(records):
            assert fold.apply(seq, records[seq - 1]) == []
    assert (state(fold), fold.foreign) == (before, foreign)


@given(st.permutations(range(1, SIZE + 1)), st.lists(statuses, min_size=SIZE, max_size=SIZE))
def test_the_order_of_different_sessions_does_not_matter(order: list[int], kinds: list[Any]) -> None:
    records = [record(s, status=kind, load=s * 10.0) for s, kind in enumerate(kinds, 1)]
    shuffled = [records[s - 1] for s in order]

    def totals(fold: Fold) -> Any:
        cp = fold.checkpoint(0)
        return codec.to_builtins([cp.total, cp.targets, cp.platforms, cp.errors, cp.timeline, cp.done.hex()])

    assert totals(folded(shuffled)) == totals(folded(records))


@given(streams, st.integers(0, 2**40))
def test_sequences_may_have_gaps_but_must_grow(records: list[Record], start: int) -> None:
    fold = Fold(PLAN)
    for i, record in enumerate(records):
        fold.apply(start + 1 + 3 * i, record)
    assert {**codec.to_builtins(fold.checkpoint(0)), "seq": 0, "superseded_records": 0} == {
        **codec.to_builtins(folded(records).checkpoint(0)), "seq": 0, "superseded_records": 0,
    }  # fmt: skip


# --- the timeline ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(times, st.sampled_from(["ok", "failed", "cancelled"])), min_size=1, max_size=SIZE))
def test_the_timeline_is_bounded_and_its_sums_are_the_totals(ends: list[tuple[float, Any]]) -> None:
    records = [record(s, status=kind, at=at, load=float(s)) for s, (at, kind) in enumerate(ends, 1)]
    fold = folded(records)
    t, total = fold.timeline, fold.total
    assert len(t.buckets) <= MAX_TIME_BUCKETS
    assert sum(b.ok for b in t.buckets) == total.ok
    assert sum(b.failed for b in t.buckets) == total.failed
    assert sum(b.other for b in t.buckets) == total.cancelled
    assert sum(b.load_count for b in t.buckets) == len(records)
    assert sum(b.load_sum for b in t.buckets) == sum(range(1, len(records) + 1))
    assert max(b.load_max for b in t.buckets) == len(records)


def test_a_full_timeline_doubles_its_width_and_loses_nothing() -> None:
    fold = Fold(PLAN)
    for session, at in enumerate((1000.5, 1001.2, 1001.9, 1599.9), 1):
        fold.apply(session, record(session, at=at))
    t = fold.timeline
    assert (t.start, t.width_s, len(t.buckets)) == (1000.0, 1.0, 600)
    assert {i: b.ok for i, b in enumerate(t.buckets) if b.ok} == {0: 1, 1: 2, 599: 1}
    fold.apply(5, record(5, at=1600.0))
    assert (t.start, t.width_s) == (1000.0, 2.0)
    assert {i: b.ok for i, b in enumerate(t.buckets) if b.ok} == {0: 3, 299: 1, 300: 1}
    fold.apply(6, record(6, at=900.0))  # before the start: counted in the first
    assert t.buckets[0].ok == 4
    fold.apply(7, record(7, at=1000.0 + 600 * 2**10))
    assert t.width_s == 2.0**11
    assert len(t.buckets) <= MAX_TIME_BUCKETS
    assert sum(b.ok for b in t.buckets) == 7
    assert TimeBucket() in t.buckets


# --- bounds ----------------------------------------------------------------------------------------------


def many_targets(n: int) -> Plan:
    targets = [{"url": f"http://127.0.0.1:1/{i}", "sessions": 1} for i in range(n)]
    return Plan("j", read_spec({"targets": targets, "seed": 1}))


@pytest.mark.parametrize(
    ("n", "cells"), [(1, 1), (MAX_TARGET_CELLS, MAX_TARGET_CELLS), (70, MAX_TARGET_CELLS + 1)]
)
def test_targets_beyond_a_bound_share_one_cell(n: int, cells: int) -> None:
    assert MAX_TARGET_CELLS == 50
    fold = Fold(many_targets(n))
    fold.apply(1, ConductorRecord(job="j", sessions=[(1, n)], status="dropped", at=1.0))
    assert len(fold.targets) == cells
    assert all(c.dropped == c.planned for c in fold.targets.values())
    if n > MAX_TARGET_CELLS:
        assert fold.targets[OTHER_TARGETS].planned == n - MAX_TARGET_CELLS


def test_classes_of_errors_are_bounded_and_none_is_lost() -> None:
    n = MAX_ERROR_KINDS + 30
    fold = Fold(many_targets(n))
    for s in range(1, n + 1):
        error = ErrorInfo(kind=f"kind{s}")
        fold.apply(s, ConductorRecord(job="j", sessions=[(s, s)], status="failed", at=1.0, error=error))
    assert len(fold.errors) <= MAX_ERROR_KINDS + 1
    assert sum(fold.errors.values()) == n
    assert fold.errors["other"] == 30
    assert fold.errors["kind1"] == 1


def test_an_error_counts_for_each_session_of_a_range() -> None:
    fold = Fold(PLAN)
    error = ErrorInfo(kind="lost")
    fold.apply(1, ConductorRecord(job="j", sessions=[(1, 3), (5, 5)], status="lost", at=1.0, error=error))
    assert fold.errors == {"lost": 4}


def test_sequences_of_superseded_records_are_the_newest_thousand() -> None:
    fold = Fold(PLAN)
    for seq in range(1, MAX_SUPERSEDED_RECORDS + 52):
        fold.apply(seq, record(1))
    assert fold.superseded == MAX_SUPERSEDED_RECORDS + 50
    assert fold.superseded_records == [(seq, 1) for seq in range(52, MAX_SUPERSEDED_RECORDS + 52)]


def test_the_checkpoint_does_not_grow_with_the_sessions() -> None:
    """But for one bit each."""
    sizes = []
    for n in (200, 20_000):
        spec = read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": n, "seed": 1})
        fold = Fold(Plan("j", spec))
        for s in range(1, n + 1):
            fold.apply(s, record(s, at=1e9 + s % 200, load=100.0 + s % 150))
        assert fold.finished
        sizes.append(len(state(fold)) - n / 8 * 4 / 3)
    assert sizes[1] < 1.5 * sizes[0] + 2_000


def test_a_checkpoint_of_a_job_without_records_lays_out_the_plan() -> None:
    for fold in (Fold(PLAN), Fold(PLAN, Checkpoint(job="j"))):
        assert fold.total.planned == SIZE
        assert {k: c.planned for k, c in fold.targets.items()} == PLAN.planned_by_target()
        assert {k: c.planned for k, c in fold.platforms.items()} == PLAN.planned_by_platform()


def test_a_summary_has_exact_ends_and_near_percentiles() -> None:
    fold = Fold(PLAN)
    for s in range(1, SIZE + 1):
        fold.apply(s, record(s, load=s * 10.0))
    found = summary(fold.total.metrics["load"])
    assert (found.count, found.min, found.max, found.mean) == (20, 10.0, 200.0, 105.0)
    assert found.p50 == pytest.approx(100, rel=0.011)
    assert found.p95 == pytest.approx(190, rel=0.011)
    assert found.p99 <= 200


def test_the_checkpoint_of_a_wide_job_fits_into_a_message() -> None:
    spec = read_spec(
        {
            "targets": [{"url": f"http://127.0.0.1:1/{i}", "sessions": 40} for i in range(60)],
            "platforms": ["linux-chromium", "linux-firefox", "windows-msedge"],
            "seed": 1,
        }
    )
    fold = Fold(Plan("j", spec))
    rng = random.Random(1)
    for s in range(1, 2_401):
        # As spread out as can be: hardly two values share a bucket.
        seen = {m: 10 ** rng.uniform(0, 6) for m in METRICS}
        whole = {m: int(seen[m]) for m in ("bytes", "requests", "failed_requests", "console_errors")}
        record = SessionRecord(
            job="j",
            session=s,
            attempt=1,
            status="ok",
            runner="r",
            ended_at=1e9 + s,
            saturated=s % 9 == 0,
            steps=[StepRecord(name=f"step {s % 50}", ms=seen["load"])],
            measures=Measures(**(seen | whole)),
        )
        fold.apply(s, record)
    checkpoint = fold.checkpoint(1)
    written = codec.encode(packed(checkpoint))
    assert len(written) < 0.6 * len(codec.encode(checkpoint))
    assert len(written) < 0.6 * codec.MAX_MESSAGE_BYTES
    assert b'"buckets":{' not in written
    assert codec.decode(written, Checkpoint) == codec.decode(codec.encode(checkpoint), Checkpoint)


def test_calm_metrics_begin_with_the_first_saturated_session() -> None:
    fold = Fold(PLAN)
    for s, busy in enumerate((False, False, True, False), 1):
        fold.apply(s, msgspec.structs.replace(record(s, load=s * 100.0), saturated=busy))
        assert bool(fold.calm) == (s >= 3)
    assert (fold.calm["load"].count, fold.calm["load"].sum) == (3, 700.0)
    assert fold.total.metrics["load"].count == 4


def test_a_checkpoint_fits_into_a_message_whatever_was_measured() -> None:
    def wide(cells: Mapping[str, Cell]) -> dict[str, Cell]:
        rng = random.Random(7)
        return {
            name: Cell(ok=n, metrics={m: Sketch(n, 1.0, 0.1, 9.9, buckets(rng)) for m in METRICS})
            for n, name in enumerate(cells, 1)
        }

    def buckets(rng: random.Random) -> dict[int, int]:
        return {i: rng.choice((1, 2, 3, 9, 20, 4_000)) for i in range(LOWEST, HIGHEST, rng.choice((1, 2, 3)))}

    for targets in (30, 150):
        before = Checkpoint(job="j1", done=bytes(125_000))
        before.total = wide({"all": Cell()})["all"]
        before.targets = wide({f"t{i}": Cell() for i in range(targets)})
        data = write_checkpoint(before)
        assert len(data) <= MAX_CHECKPOINT_BYTES
        after = read_checkpoint(data)
        assert after.total == before.total
        assert [c.ok for c in after.targets.values()] == [c.ok for c in before.targets.values()]
        assert all(c.metrics for c in after.targets.values()) is (targets == 30)
    with pytest.raises(MessageError):
        read_checkpoint(data[:-100])
    with pytest.raises(MessageError):
        read_checkpoint(b"\xff" * 100)
