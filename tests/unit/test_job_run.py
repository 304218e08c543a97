"""A job while it is conducted: a session waits, flies or has ended; it never does two of these."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker_config import codec
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import read_spec
from broker_config.messages import ConductorRecord, Dispatch, SessionRecord
from orchestrator.core.fallback import Lanes
from orchestrator.core.in_flight import InFlight
from orchestrator.core.job_run import JobRun
from orchestrator.core.plan import Plan

SIZE = 8
VUS = 5
SPEC = read_spec(
    {
        "targets": [{"url": "http://127.0.0.1:1/"}],
        "sessions": SIZE,
        "load": {"executor": "shared-sessions", "vus": VUS},
        "platforms": ["linux-chromium", "linux-firefox"],
        "thresholds": ["load.p95 < 1s"],
        "pool": "lab",
        "seed": 4,
    }
)
PLAN = Plan("j", SPEC)
LANES = ("linux-chromium.lab", "linux-firefox.lab")
LANE = {s: f"{PLAN.platform(s)}.lab" for s in range(1, SIZE + 1)}
sessions = st.integers(1, SIZE)


def document(**changes: Any) -> Job:
    fields = {"id": "j", "spec": SPEC, "state": "running", "submitted_at": 1.0, **changes}
    return Job(**fields)


def new_run(checkpoint: Checkpoint | None = None, **changes: Any) -> JobRun:
    return JobRun(document(**changes), 1, PLAN, checkpoint)


def lane(session: int) -> str:
    return f"{PLAN.platform(session)}.lab"


def ended(session: int, attempt: int = 1) -> SessionRecord:
    return SessionRecord(job="j", session=session, attempt=attempt, status="ok", runner="r", ended_at=5.0)


def written_off(*ranges: tuple[int, int]) -> ConductorRecord:
    return ConductorRecord(job="j", sessions=list(ranges), status="cancelled", at=5.0)


def queue_of(run: JobRun) -> list[int]:
    return sorted(run.waiting_sessions())


def online(*served: str) -> Lanes:
    lanes = Lanes(0.0)
    lanes.look(dict.fromkeys(served, 100), 0.0)
    return lanes


def take(run: JobRun, lane: str, n: int, now: float = 0.0) -> list[Dispatch]:
    offer = run.offer(now, online(lane), {lane: n})
    return run.take(offer, lane, min(n, offer.waiting(lane))) if offer else []


def send(run: JobRun, lane: str, n: int, seq: int, now: float = 0.0) -> list[Dispatch]:
    messages = take(run, lane, n, now)
    for i, message in enumerate(messages):
        run.sent(lane, message, seq + i, now)
    return messages


class JobRunMachine(RuleBasedStateMachine):
    """What a conductor does to a run, in any order, and what comes in from runners meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.run = new_run()
        self.dispatch_seq = 100
        self.record_seq = 0
        self.now = 10.0
        self.records: list[tuple[int, SessionRecord | ConductorRecord]] = []
        self.dropped = False

    @initialize(found=st.lists(st.tuples(st.integers(-1, SIZE + 2), st.integers(1, 3)), max_size=6))
    def lay_out(self, found: list[tuple[int, int]]) -> None:
        messages = []
        for session, attempt in found:
            self.dispatch_seq += 1
            platform = PLAN.platform(session) if 1 <= session <= SIZE else "linux-chromium"
            message = Dispatch(
                job="j", session=session, platform=platform, target="t", url="u", attempt=attempt, pool="lab"
            )
            messages.append((self.dispatch_seq, message))
        stale = self.run.lay_out(messages, self.now)
        known = Counter(s for s, _ in found if 1 <= s <= SIZE)
        assert len(stale) == len(found) - len(known)
        assert self.run.in_flight.keys() == known.keys()

    @rule(lane=st.sampled_from(LANES), n=st.integers(1, 4))
    def dispatch(self, lane: str, n: int) -> None:
        room = self.run.room(self.now)
        here = [s for s in self.run.waiting_sessions() if lane == LANE[s]]
        offer = self.run.offer(self.now, online(lane), {lane: n})
        assert (offer is None) == (not room or not here)
        if offer is None:
            return
        can = min(n, room, len(here))
        assert offer.waiting(lane) == min(n + 1, room, len(here))
        # The window may take from the same job several times before anything is sent.
        messages = self.run.take(offer, lane, 1) + self.run.take(offer, lane, can - 1)
        assert [m.session for m in messages] == here[:can]
        assert {m.platform for m in messages} == {lane.partition(".")[0]}
        for message in messages:
            self.dispatch_seq += 1
            self.run.sent(lane, message, self.dispatch_seq, self.now)

    @rule(session=sessions, attempt=st.integers(1, 3))
    def a_runner_reports(self, session: int, attempt: int) -> None:
        if self.record_seq >= SIZE:
            return  # leave something to go on with
        assert self._apply(ended(session, attempt)) == []

    @rule(first=st.integers(-1, SIZE), length=st.integers(0, 1))
    def written_off(self, first: int, length: int) -> None:
        covered = range(first, first + length + 1)
        messages = {f.seq for s, f in self.run.in_flight.items() if s in covered and f.seq}
        assert set(self._apply(written_off((first, first + length)))) == messages

    def _apply(self, record: SessionRecord | ConductorRecord) -> list[int]:
        self.record_seq += 1
        self.records.append((self.record_seq, record))
        return self.run.apply(self.record_seq, record)

    @rule(session=st.integers(-1, SIZE + 2), attempt=st.integers(1, 4), holder=st.sampled_from("ab"))
    def a_runner_claims(self, session: int, attempt: int, holder: str) -> None:
        where = lane(session) if 1 <= session <= SIZE else LANES[0]
        self.run.hold(session, attempt, holder, where, self.now)
        known = 1 <= session <= SIZE and session not in self.run.fold.done
        assert (session in self.run.in_flight) == known
        if known:
            flight = self.run.in_flight[session]
            assert holder in flight.holders
            assert flight.attempt_seen >= attempt
            assert session not in self.run.not_held(self.now + 1, 2)
            assert session in self.run.not_held(self.now + 3, 2)

    @rule(session=sessions, attempt=st.integers(1, 3))
    def taken_back(self, session: int, attempt: int) -> None:
        flying = session in self.run.in_flight
        waited = session in self.run.waiting_sessions()
        self.run.put_back(session, attempt)
        assert (session in self.run.waiting_sessions()) == (flying or waited)
        if flying:
            first, *_ = (s for s in self.run.waiting_sessions() if lane(s) == lane(session))
            assert first == session

    @rule(seconds=st.floats(0.1, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.dropped)
    @rule()
    def cancelled(self) -> None:
        waiting = set(self.run.waiting_sessions())
        assert {i.session for i in self.run.take_waiting()} == waiting
        self.dropped = True

    @rule()
    def another_conductor_takes_over(self) -> None:
        """It finds what is in DISPATCH, the checkpoint, and the records since."""
        checkpoint = codec.decode(codec.encode(self.run.fold.checkpoint(3)), Checkpoint)
        messages = [
            (f.seq, PLAN.dispatch(s, attempt=f.attempt)) for s, f in self.run.in_flight.items() if f.seq
        ]
        before = self.run
        self.run = new_run(checkpoint)
        for seq, record in self.records:
            self.run.apply(seq, record)
        assert self.run.lay_out(messages, self.now) == []
        assert bytes(self.run.fold.done) == bytes(before.fold.done)
        assert self.run.in_flight.keys() == {s for s, f in before.in_flight.items() if f.seq}
        self.dropped = False

    @invariant()
    def lanes_count_their_flights(self) -> None:
        flights = Counter(f.lane for f in self.run.in_flight.values())
        assert {k: n for k, n in self.run.by_lane.items() if n} == flights

    @invariant()
    def a_session_is_in_one_place(self) -> None:
        waiting = list(self.run.waiting_sessions())
        flying = set(self.run.in_flight)
        done = {s for s in range(1, SIZE + 1) if s in self.run.fold.done}
        assert len(waiting) == len(set(waiting))
        assert not set(waiting) & flying
        assert not set(waiting) & done
        assert not flying & done
        if not self.dropped:
            assert set(waiting) | flying | done == set(range(1, SIZE + 1))

    @invariant()
    def what_waits_waits_in_its_lane(self) -> None:
        for where in LANES:
            here = [s for s in self.run.waiting_sessions() if lane(s) == where]
            assert self.run.waiting(where) >= len(here)
            assert (where in self.run.lanes) or not here
        assert all(f.lane == lane(s) for s, f in self.run.in_flight.items())

    @invariant()
    def room_is_what_the_cap_leaves(self) -> None:
        assert self.run.room(self.now) == max(0, VUS - len(self.run.in_flight))


TestJobRun = JobRunMachine.TestCase
TestJobRun.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_new_job_waits_in_the_order_of_the_plan() -> None:
    run = new_run()
    assert run.lay_out([], 0) == []
    assert queue_of(run) == list(range(1, SIZE + 1))
    taken = take(run, LANES[0], 100)
    assert [t.session for t in taken] == list(PLAN.sessions_by_platform()["linux-chromium"])[:VUS]
    assert {t.attempt for t in taken} == {1}


@pytest.mark.parametrize(
    ("changes", "room"),
    [
        ({}, VUS),
        ({"desired": "pause"}, 0),
        ({"desired": "cancel"}, 0),
        ({"state": "finished"}, 0),
        ({"state": "paused"}, VUS),  # resumed, and not yet told so
    ],
)
def test_room(changes: dict[str, Any], room: int) -> None:
    run = new_run(**changes)
    run.lay_out([], 0)
    assert run.room(0.0) == room


def test_a_session_claimed_while_it_waits_is_sent_once_when_it_vanishes() -> None:
    """Its message was withdrawn a moment too late; the runner that has it dies after all."""
    run = new_run()
    run.lay_out([], 0)
    (item,) = send(run, LANES[0], 1, 100)
    run.put_back(item.session, item.attempt)
    run.hold(item.session, 1, "a/1", LANES[0], 1.0)
    assert item.session not in run.waiting_sessions()
    run.put_back(item.session, 2)
    taken = take(run, LANES[0], SIZE)
    assert [(t.session, t.attempt) for t in taken if t.session == item.session] == [(item.session, 2)]
    assert len({t.session for t in taken}) == len(taken)


def test_a_session_that_ended_while_it_waited_is_left_out() -> None:
    run = new_run()
    run.lay_out([], 0)
    first, *_ = PLAN.sessions_by_platform()["linux-chromium"]
    run.apply(1, ended(first))
    assert first not in [t.session for t in take(run, LANES[0], 100)]


def test_records_of_the_conductor_leave_messages_over_and_those_of_runners_do_not() -> None:
    run = new_run()
    run.lay_out([], 0)
    a, b, c = send(run, LANES[0], 3, 100)
    assert run.apply(1, ended(a.session)) == []
    assert run.apply(2, written_off((1, SIZE))) == [101, 102]
    assert {b.session, c.session} & run.in_flight.keys() == set()
    assert run.fold.finished


def test_only_news_makes_it_dirty() -> None:
    run = new_run()
    run.lay_out([], 0)
    run.dirty = run.unsaved = False
    run.apply(1, ended(1))
    assert (run.dirty, run.unsaved) == (True, True)
    run.dirty = run.unsaved = False
    run.apply(1, ended(1))  # replayed
    assert (run.dirty, run.unsaved) == (False, False)
    run.apply(2, ended(1))  # superseded: people see that count
    assert (run.dirty, run.unsaved) == (True, True)


def test_records_older_than_the_job_are_not_its_own() -> None:
    run = new_run(after_seq=50)
    assert run.fold.seq == 50
    run.apply(50, ended(1))
    assert 1 not in run.fold.done
    run.apply(51, ended(1))
    assert 1 in run.fold.done


def test_flights_do_not_share_their_holders() -> None:
    one = InFlight(lane="x", seq=1, attempt=1, since=0.0)
    one.holders.add("a")
    assert InFlight(lane="x", seq=2, attempt=1, since=0.0).holders == set()


def test_progress_goes_on_after_the_checkpoint() -> None:
    run = new_run(Checkpoint(job="j", progress_seq=77))
    assert run.progress_seq == 77
    assert [t.text for t in run.thresholds] == SPEC.thresholds
    assert (run.id, run.priority) == ("j", 4)


def test_a_session_that_starts_before_it_is_known_to_be_sent_takes_one_place() -> None:
    run = new_run()
    run.lay_out([], 0.0)
    (item,) = take(run, LANES[0], 1)
    run.hold(item.session, item.attempt, "r1/a", LANES[0], 1.0)
    run.sent(LANES[0], item, 17, 1.1)
    assert run.by_lane[LANES[0]] == 1
    flight = run.in_flight[item.session]
    assert (flight.seq, flight.held_at, flight.holders) == (17, 1.0, {"r1/a"})
    run.apply(1, ended(item.session))
    assert run.by_lane[LANES[0]] == 0
