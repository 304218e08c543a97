"""A job under each load: what it would send when, and what becomes of the numbers that are left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config import codec
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import JobSpec, read_spec
from broker_config.messages import ConductorRecord, Dispatch, SessionRecord
from orchestrator.core.audit import audit
from orchestrator.core.bitmap import ranges
from orchestrator.core.fallback import Lanes
from orchestrator.core.job_run import JobRun
from orchestrator.core.plan import BLOCK, Plan
from orchestrator.core.progress import counts
from orchestrator.core.schedule import AHEAD
from tests.support.honest_job import written

T0 = 1_790_000_000.0
CHROMIUM, FIREFOX = "linux-chromium", "linux-firefox"


def spec_of(load: dict[str, Any], **fields: Any) -> JobSpec:
    return read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "load": load, "seed": 3, **fields})


def run_of(spec: JobSpec, started_at: float | None = T0, checkpoint: Checkpoint | None = None) -> JobRun:
    job = Job(id="j", spec=spec, state="running", submitted_at=T0, started_at=started_at)
    run = JobRun(job, 1, Plan("j", spec), checkpoint)
    run.lay_out([], T0)
    return run


def online(**slots: int) -> Lanes:
    lanes = Lanes(0.0)
    lanes.look({name.replace("_", "-"): n for name, n in slots.items()}, 0.0)
    return lanes


def send(run: JobRun, now: float, free: Mapping[str, int], lanes: Lanes | None = None) -> list[Dispatch]:
    """What it sends when it is alone."""
    lanes = lanes or online(linux_chromium=100, linux_firefox=100)
    offer = run.offer(now, lanes, free)
    out: list[Dispatch] = []
    if offer is None:
        return out
    for lane, places in free.items():
        if not offer.waiting(lane):
            continue
        messages = run.take(offer, lane, min(places, offer.waiting(lane)))
        for message in messages:
            run.sent(lane, message, len(run.in_flight) + 1, now)
        out += messages
    return out


def end(run: JobRun, seq: int, session: int, **fields: Any) -> None:
    run.apply(seq, SessionRecord(job="j", session=session, attempt=1, status="ok", runner="r", **fields))


def test_virtual_users_take_the_lowest_numbers_of_all_platforms() -> None:
    spec = spec_of(
        {"executor": "constant-vus", "vus": 8, "duration": "60s"}, platforms={CHROMIUM: 3, FIREFOX: 1}
    )
    run = run_of(spec)
    sent = send(run, T0 + 1, {CHROMIUM: 100, FIREFOX: 100})
    assert sorted(m.session for m in sent) == list(range(1, 9))
    assert run.room(T0 + 1) == 0
    for seq, m in enumerate(sent[:3], 1):
        end(run, seq, m.session)
    assert sorted(m.session for m in send(run, T0 + 2, {CHROMIUM: 9, FIREFOX: 9})) == [9, 10, 11]
    assert send(run, T0 + 60, {CHROMIUM: 9, FIREFOX: 9}) == []


def test_a_platform_without_room_or_runner_keeps_nobody_waiting() -> None:
    spec = spec_of({"executor": "constant-vus", "vus": 8, "duration": "60s"}, platforms=[CHROMIUM, FIREFOX])
    run = run_of(spec)
    sent = send(run, T0, {CHROMIUM: 100, FIREFOX: 1})
    assert len(sent) == 8
    assert sum(m.platform == FIREFOX for m in sent) == 1
    alone = send(run_of(spec), T0, {CHROMIUM: 100}, online(linux_chromium=4))
    assert len(alone) == 8
    assert {m.platform for m in alone} == {CHROMIUM}


def test_users_rest_from_the_start_of_a_session_on() -> None:
    run = run_of(
        spec_of({"executor": "constant-vus", "vus": 2, "duration": "60s", "pacing": "5s"}, sessions=9)
    )
    free = {CHROMIUM: 9}
    assert [m.session for m in send(run, T0, free)] == [1, 2]
    run.hold(1, 1, "r/1", CHROMIUM, T0 + 2)  # it began two seconds after it was sent
    end(run, 1, 1)
    end(run, 2, 2)
    assert send(run, T0 + 4.9, free) == []
    assert [m.session for m in send(run, T0 + 5, free)] == [3]
    assert send(run, T0 + 6.9, free) == []
    assert [m.session for m in send(run, T0 + 7, free)] == [4]


def test_who_takes_over_lets_users_rest_since_nobody_knows_when_they_began() -> None:
    spec = spec_of({"vus": 2, "pacing": "5s"}, sessions=9)
    before = run_of(spec)
    send(before, T0, {CHROMIUM: 9})
    end(before, 1, 1)
    after = run_of(spec, checkpoint=before.fold.checkpoint(1))
    assert send(after, T0 + 4.9, {CHROMIUM: 9}) == []
    assert len(send(after, T0 + 5, {CHROMIUM: 9})) == 2


def test_sessions_with_times_are_sent_a_little_ahead() -> None:
    load = {"executor": "constant-arrival-rate", "rate": 2, "duration": "30s", "start_delay": "1s"}
    run = run_of(spec_of(load, platforms=[CHROMIUM, FIREFOX]))
    sent = send(run, T0, {CHROMIUM: 9, FIREFOX: 9})
    assert sorted((m.session, m.start_at) for m in sent) == [(1, T0 + 1), (2, T0 + 1.5)]
    assert {m.late_limit for m in sent} == {2.0}
    assert send(run, T0, {CHROMIUM: 9, FIREFOX: 9}) == []
    more = send(run, T0 + 1.2, {CHROMIUM: 9, FIREFOX: 9})
    assert sorted(m.session for m in more) == [3, 4]
    assert all(m.start_at is not None and m.start_at <= T0 + 1.2 + AHEAD for m in more)
    assert run_of(spec_of(load), started_at=None).offer(T0, online(linux_chromium=9), {CHROMIUM: 9}) is None


def test_what_is_too_late_is_dropped_and_not_sent() -> None:
    run = run_of(spec_of({"executor": "constant-arrival-rate", "rate": 2, "duration": "30s"}))
    run.drop_late(T0 + 2.0)
    assert run.dropped == []
    run.drop_late(T0 + 4.2)
    # The limit is 2 s: those of 0, 0.5, 1, 1.5 and 2 s.
    assert run.dropped == [1, 2, 3, 4, 5]
    assert [m.session for m in send(run, T0 + 4.2, {CHROMIUM: 3})] == [6, 7, 8]


def test_max_vus_counts_those_that_wait_for_their_time_too() -> None:
    load = {"executor": "constant-arrival-rate", "rate": 100, "duration": "30s", "max_vus": 5}
    run = run_of(spec_of(load))
    assert len(send(run, T0, {CHROMIUM: 90})) == 5
    assert send(run, T0, {CHROMIUM: 90}) == []


def test_a_fallback_takes_the_line_of_the_platform_that_is_missing() -> None:
    spec = spec_of(
        {"vus": 9},
        sessions=6,
        platforms=[CHROMIUM, "windows-msedge"],
        fallback={"windows-msedge": [CHROMIUM]},
    )
    run = run_of(spec)
    sent = send(run, T0, {CHROMIUM: 9}, online(linux_chromium=9))
    assert [m.session for m in sent] == [1, 2, 3, 4, 5, 6]
    assert Counter((m.asked, m.platform) for m in sent) == {
        (None, CHROMIUM): 3,
        ("windows-msedge", CHROMIUM): 3,
    }
    assert run.by_lane == {CHROMIUM: 6}
    edge = next(m for m in sent if m.asked)
    assert edge.message_id.endswith(f".{CHROMIUM}")
    # Taken back, it waits for its own platform again.
    run.put_back(edge.session, 1)
    assert run.lanes == ["windows-msedge"]
    again = send(run, T0, {"windows-msedge": 1}, online(windows_msedge=1))
    assert [(m.session, m.asked, m.platform) for m in again] == [(edge.session, None, "windows-msedge")]
    assert again[0].message_id != edge.message_id


def test_shares_of_the_rate_go_with_the_sessions() -> None:
    run = run_of(spec_of({"vus": 9}, sessions=20, limits={"rate": 10}))
    four = online(linux_chromium=4)
    sent = send(run, T0, {CHROMIUM: 8}, four)
    assert [m.rate for m in sent] == [2.5] * 4
    assert send(run, T0, {CHROMIUM: 8}, four) == []
    # Twice the slots: who ends makes room for two.
    end(run, 1, sent[0].session)
    eight = online(linux_chromium=8)
    assert [m.rate for m in send(run, T0, {CHROMIUM: 8}, eight)] == [1.25] * 2
    # Who takes over finds the shares in the messages.
    after = JobRun(run.job, 1, run.plan, run.fold.checkpoint(1))
    found = [(n, run.plan.dispatch(s, rate=2.5)) for n, s in enumerate(run.in_flight, 1)]
    after.lay_out(found[:4], T0)
    assert send(after, T0, {CHROMIUM: 8}, eight) == []


@given(st.integers(1, 12), st.lists(st.floats(0.2, 5), min_size=1, max_size=4), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_where_the_number_is_unknown_the_shares_hold_all_the_time(
    vus: int, shares: list[float], seed: int
) -> None:
    spec = read_spec(
        {
            "targets": [{"url": f"http://127.0.0.1:1/{i}", "share": s} for i, s in enumerate(shares)],
            "load": {"executor": "constant-vus", "vus": vus, "duration": "100s"},
            "platforms": {CHROMIUM: 3, FIREFOX: 1},
            "seed": seed,
        }
    )
    plan = Plan("j", spec)
    assert plan.open_ended
    assert plan.size == vus * 1000
    first = range(1, BLOCK + 1)
    targets = Counter(plan.target(s) for s in first)
    for i, share in enumerate(shares):
        assert abs(targets[i] - BLOCK * share / sum(shares)) <= 2
    assert 74 <= sum(plan.platform(s) == CHROMIUM for s in first) <= 76
    if len(shares) > 1 and min(targets.values()) > 20:
        # Each target meets each platform.
        assert len({(plan.target(s), plan.platform(s)) for s in first}) == 2 * len(shares)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_fold_and_audit_agree_on_a_load_of_users(data: st.DataObject) -> None:
    """Whatever the records: ended in any order, some twice, the rest unused."""
    spec = read_spec(
        {
            "targets": [{"url": "http://127.0.0.1:1/a", "share": 2}, {"url": "http://127.0.0.1:1/b"}],
            "load": {"executor": "constant-vus", "vus": 3, "duration": "2s"},
            "platforms": [CHROMIUM, FIREFOX],
            "fallback": {FIREFOX: ["linux-chrome"]},
            "seed": 5,
        }
    )
    plan = Plan("j", spec)
    ran = data.draw(st.lists(st.integers(1, plan.size), max_size=20))
    run = run_of(spec)
    records: list[SessionRecord | ConductorRecord] = []
    for session in ran:
        asked = plan.platform(session)
        got = data.draw(st.sampled_from([asked, "linux-chrome"])) if asked == FIREFOX else asked
        records.append(
            SessionRecord(
                job="j",
                session=session,
                attempt=1,
                status=data.draw(st.sampled_from(["ok", "cancelled"])),
                runner="r",
                target=spec.targets[plan.target(session)].label,
                platform=got,
                asked=asked if got != asked else None,
                started_at=T0,
                ended_at=T0 + 1,
                start_error_ms=data.draw(st.none() | st.floats(0, 300)),
            )
        )
    rest = [s for s in range(1, plan.size + 1) if s not in ran]
    records.append(ConductorRecord(job="j", sessions=ranges(rest), status="unused", at=T0 + 3))
    cut = data.draw(st.integers(0, len(records)))
    for seq, record in enumerate(records[:cut], 1):
        run.apply(seq, record)
    halfway = codec.decode(codec.encode(run.fold.checkpoint(1)), Checkpoint)
    c = counts(run.fold, running=2, dispatched=1)
    assert c.planned == c.ended + 3
    raw = [written(seq, r) for seq, r in enumerate(records, 1)]
    assert (found := audit(spec, run.job, raw, halfway)).agrees, found.findings
    # From the checkpoint on, and from the beginning, it comes to the same.
    run = run_of(spec, checkpoint=halfway)
    for seq, record in enumerate(records, 1):
        run.apply(seq, record)
    assert run.fold.finished
    last = codec.decode(codec.encode(run.fold.checkpoint(2)), Checkpoint)
    assert (found := audit(spec, run.job, raw, last)).agrees, found.findings
    assert found.counts.planned == found.counts.ended == len(set(ran)) == last.total.planned
    first = {r.session: r for r in reversed(records) if isinstance(r, SessionRecord)}
    late = sum((r.start_error_ms or 0) > 100 for r in first.values())
    assert last.total.late == found.counts.late == late
    ok = [r for r in first.values() if r.status == "ok"]
    assert sum(n for got in last.got.values() for n in got.values()) == len(ok)


@pytest.mark.parametrize(
    ("load", "status"),
    [
        ({"vus": 2}, "unused"),
        ({"vus": 2}, "dropped"),
        ({"executor": "constant-vus", "vus": 2, "duration": "9s"}, "dropped"),
        ({"executor": "constant-arrival-rate", "rate": 1, "duration": "9s"}, "unused"),
    ],
)
def test_the_audit_names_ends_that_the_load_cannot_have(load: dict[str, Any], status: str) -> None:
    spec = spec_of(load, sessions=4)
    record = ConductorRecord(job="j", sessions=[(1, 2)], status=status, at=T0)  # type: ignore[arg-type]
    run = run_of(spec)
    run.apply(1, record)
    report = audit(spec, run.job, [written(1, record)], run.fold.checkpoint(1))
    assert [f.text for f in report.findings] == [f"conductor may not give status {status!r}"]


def test_a_hundred_thousand_unused_numbers_are_cheap() -> None:
    spec = spec_of({"executor": "constant-vus", "vus": 20, "duration": "500s"})
    run = run_of(spec)
    assert run.plan.size == 100_000
    send(run, T0, {CHROMIUM: 20})
    left = [i.session for i in run.take_waiting()]
    record = ConductorRecord(job="j", sessions=ranges(left), status="unused", at=T0)
    assert record.sessions == [(21, 100_000)]
    assert len(codec.encode(record)) < 200
    run.apply(1, record)
    assert run.fold.done.count == 99_980
    assert run.fold.ended == run.fold.total.planned == 0
    assert run.fold.timeline.buckets == []
