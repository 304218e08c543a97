"""A job while it is conducted: its fold, and which sessions wait, are dispatched, or have ended. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush

from broker_config.job import Checkpoint, Job
from broker_config.messages import ConductorRecord, Dispatch, JobProgress, SessionRecord
from broker_config.threshold import Threshold
from broker_config.threshold import parse as parse_threshold

from .alarm import Alarm
from .ceilings import Ceilings
from .fallback import Lanes
from .fold import Fold
from .in_flight import InFlight
from .offer import Offer, choose
from .plan import Plan
from .progress import Rate
from .rate_budget import RateBudget
from .schedule import AHEAD, Schedule
from .waiting import Line, ToSend
from .window import lane_of

#: A session that no runner has named for so long is not running: two heartbeats and a little, s.
UNCLAIMED_AFTER = 2.5


class JobRun:
    """`revision` is that of the job's document; the conductor writes it with compare-and-set."""

    def __init__(
        self,
        job: Job,
        revision: int,
        plan: Plan,
        checkpoint: Checkpoint | None,
        *,
        checkpoint_revision: int = 0,
        conductor_seq: int = 0,
    ) -> None:
        self.job = job
        self.revision = revision
        self.checkpoint_revision = checkpoint_revision
        #: Sequence of the last record that a conductor wrote for the job.
        self.conductor_seq = conductor_seq
        self.plan = plan
        self.fold = Fold(plan, checkpoint)
        self.alarm = Alarm(job.spec, self.fold, resumed=checkpoint is not None)
        if checkpoint is None:
            self.fold.seq = job.after_seq
        self.progress_seq = checkpoint.progress_seq if checkpoint else 0
        self.thresholds: list[Threshold] = [parse_threshold(t) for t in job.spec.expressions]
        self.rate = Rate()
        self.in_flight: dict[int, InFlight] = {}
        #: The highest session that was sent, by platform: whoever takes over must know it of those that wait
        #: again, or they would pass for numbers that nobody needed.
        self.sent_to: dict[str, int] = dict(checkpoint.sent) if checkpoint else {}
        #: Sessions in flight by lane: what counts against the lane's window.
        self.by_lane: dict[str, int] = {}
        self.schedule = Schedule(job.spec.load)
        rate = job.spec.limits.rate
        self.budget = RateBudget(rate) if rate is not None else None
        #: Those of origins, for all jobs together.
        self.ceilings = Ceilings()
        pool = job.spec.dispatch_pool
        #: By the lane that was asked for: the lanes that a session may get, first choice first.
        self.chains = {lane_of(p, pool): [lane_of(c, pool) for c in plan.chain(p)] for p in plan.platforms}
        self._lines: dict[str, Line] = {}
        #: When virtual users that pause may begin their next session, the first on top.
        self._resting: list[float] = []
        #: Sessions that are expected to run at once, for their shares of the rate.
        self._at_once = 1
        self.laid_out_at = 0.0
        #: Something changed since the last progress / the last checkpoint.
        self.dirty = True
        self.unsaved = True
        self.progress: JobProgress | None = checkpoint.progress if checkpoint else None
        self.progress_at = 0.0
        self.saved_at = 0.0
        #: Since when running sessions are told to end.
        self.cancel_since: float | None = None
        #: Sessions that are dropped and not yet written off, and when some last were.
        self.dropped: list[int] = []
        self.dropped_at = 0.0
        #: When a message was taken back because the load's time is over: a runner may have the session yet.
        self.taken_back: dict[int, float] = {}

    # --- what the window asks ----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def priority(self) -> int:
        return self.job.spec.priority

    def room(self, now: float) -> int:
        """How many more sessions the job's own caps let out."""
        job = self.job
        if job.desired != "run" or job.state == "finished":
            return 0
        while self._resting and self._resting[0] <= now:
            heappop(self._resting)
        vus = self.schedule.vus(now, job.started_at)
        return max(0, vus - len(self.in_flight) - len(self._resting))

    def offer(self, now: float, lanes: Lanes, free: Mapping[str, int]) -> Offer | None:
        """What it would send now; `free` are the places in each lane."""
        most = self.room(now)
        if not most:
            return None
        routed = [
            (lane, line)
            for asked, line in self._lines.items()
            if len(line) and (lane := lanes.route(self.chains[asked], now)) and free.get(lane)
        ]
        if not routed:
            return None
        if self.budget is not None:
            self._at_once = self._expected(lanes, now)
            most = min(most, self.budget.room(self._at_once))
        if self.ceilings.active:
            most = min(most, self._ceiling_room(routed, lanes, now))
        chosen = choose(routed, free, most, lambda session: self._is_ready(session, now))
        return Offer(self.id, self.priority, chosen) if chosen.items else None

    def _ceiling_room(self, routed: list[tuple[str, Line]], lanes: Lanes, now: float) -> int:
        """By the sessions that are first in line: those behind wait for them."""
        self._at_once = self._expected(lanes, now)
        project, room = self.job.project, 0
        for _, line in routed:
            if (first := line.first()) is None:
                continue
            reach = self.plan.reach(first.session)
            self.ceilings.expect(self.id, project, reach, self._at_once)
            found = self.ceilings.room(project, reach)
            room += self._at_once if found is None else found
        return room

    def _share(self, session: int) -> tuple[bool, float | None]:
        """Whether the session may begin, and its share of the rate ceilings."""
        project, limit, reach = self.job.project, None, frozenset[str]()
        if self.ceilings.active:
            reach = self.plan.reach(session)
            if self.ceilings.room(project, reach) == 0:
                return False, None
            limit = self.ceilings.rate(project, reach)
        rate = limit
        if self.budget is not None:
            rate = self.budget.take(session, self._at_once, limit)
            if rate is None:
                return False, None
        if self.ceilings.active:
            self.ceilings.enter(self.id, session, project, reach, rate)
        return True, rate

    def _expected(self, lanes: Lanes, now: float) -> int:
        """Sessions that can run at once, by the slots that are online."""
        mine = {lanes.route(chain, now) for chain in self.chains.values()} - {None}
        return max(1, min(self.schedule.peak, sum(lanes.slots.get(lane, 0) for lane in mine if lane)))

    def _is_ready(self, session: int, now: float) -> bool:
        start = self.schedule.start_of(session, self.job.started_at)
        return start is None or start <= now + AHEAD

    def waiting(self, lane: str) -> int:
        """Sessions at most that wait for a platform, by its lane."""
        line = self._lines.get(lane)
        return len(line) if line else 0

    @property
    def lanes(self) -> list[str]:
        """Lanes that sessions wait for, as they were asked for."""
        return [lane for lane, line in self._lines.items() if line.first()]

    @property
    def is_ending(self) -> bool:
        """Whether sessions that still run are to end now."""
        return self.job.desired == "cancel" or self.cancel_since is not None

    def was_sent(self, session: int) -> bool:
        """Whether a runner may have had it."""
        return session <= self.sent_to.get(self.plan.platform(session), 0)

    def lane_asked(self, session: int) -> str:
        return lane_of(self.plan.platform(session), self.job.spec.dispatch_pool)

    # --- moves -------------------------------------------------------------------------------------------

    def lay_out(self, found: Iterable[tuple[int, Dispatch]], now: float) -> list[int]:
        """Start from what the broker holds: `(sequence, message)` of the job in DISPATCH. What has neither
        record nor message waits. Returns sequences of messages that are of no use any more."""
        self.laid_out_at = now
        stale = []
        for seq, d in found:
            known = 1 <= d.session <= self.plan.size and d.session not in self.fold.done
            if known and d.session not in self.in_flight:
                flight = self._fly(d.session, lane_of(d.platform, d.pool), seq, d.attempt, now)
                flight.start_at = d.start_at or 0.0
                # A runner may have been given it, and a broker that died may not know that any more.
                flight.given_at = now
                self._count(d.session, d.rate)
                if self.budget is not None and d.rate is not None:
                    self.budget.recover(d.session, d.rate)
            else:
                stale.append(seq)
        pool = self.job.spec.dispatch_pool
        for platform, sessions in self.plan.sessions_by_platform().items():
            self._lines[lane_of(platform, pool)] = Line(sessions, self._is_gone)
        if self.schedule.pacing and self.fold.ended:
            # When the virtual users began is not known any more: surely not after this.
            idle = self.schedule.vus(now, self.job.started_at) - len(self.in_flight)
            self._resting = [now + self.schedule.pacing] * max(0, idle)
        return stale

    def take(self, offer: Offer, lane: str, n: int) -> list[Dispatch]:
        """The messages of the offer's next `n` sessions for the lane, which wait no more."""
        out = []
        for offered in offer.take(lane, n):
            # A runner may have claimed it since: then the next one of its line goes.
            item = self._lines[self.lane_asked(offered.session)].pop()
            if item is None:
                continue
            may, rate = self._share(item.session)
            if not may:
                self._lines[self.lane_asked(item.session)].put_back(item)
                break
            dispatch = self.plan.dispatch(
                item.session,
                attempt=item.attempt,
                generation=self.job.generation,
                rate=rate,
                got=lane.partition(".")[0],
                start_at=self.schedule.start_of(item.session, self.job.started_at),
            )
            out.append(dispatch)
        return out

    def sent(self, lane: str, message: Dispatch, seq: int, now: float) -> None:
        """The session's message is in DISPATCH."""
        flight = self.in_flight.get(message.session)
        if flight is None:
            flight = self._fly(message.session, lane, seq, message.attempt, now)
        else:
            # A runner has told of its start before the broker's answer was here.
            flight.seq, flight.attempt = seq, message.attempt
        flight.start_at = message.start_at or 0.0
        self._count(message.session, message.rate)
        self.dirty = True

    def apply(self, seq: int, record: SessionRecord | ConductorRecord, at: float | None = None) -> list[int]:
        """Fold a record; sequences of DISPATCH messages that nobody will ack any more."""
        superseded = self.fold.superseded
        left_over = []
        for session in self.fold.apply(seq, record, at):
            flight = self._land(session)
            if flight and self.schedule.pacing:
                heappush(self._resting, (flight.began or flight.since) + self.schedule.pacing)
            if flight and flight.seq and isinstance(record, ConductorRecord):
                left_over.append(flight.seq)
            self.dirty = self.unsaved = True
        if self.fold.superseded != superseded:
            self.dirty = self.unsaved = True
        return left_over

    def put_back(self, session: int, attempt: int) -> None:
        """The session's message was withdrawn or has vanished: it waits again, first in line."""
        flight = self._land(session)
        if flight and session not in self.fold.done:
            self._lines[self.lane_asked(session)].put_back(ToSend(session, attempt))
            self.dirty = True

    def hold(self, session: int, attempt: int, holder: str, lane: str, now: float) -> None:
        """A runner says that it holds the session."""
        if session in self.fold.done or not 1 <= session <= self.plan.size:
            return
        flight = self.in_flight.get(session)
        if flight is None:
            # Withdrawn a moment too late: it runs, so it must not be sent again meanwhile, nor wait twice
            # should it vanish.
            if line := self._lines.get(self.lane_asked(session)):
                line.remove(session)
            flight = self._fly(session, lane, 0, attempt, now)
            if self.budget is not None:
                self.budget.recover(session, self.budget.share(self._at_once))
        flight.began = flight.began or now
        flight.held_at = now
        flight.missed = 0
        flight.attempt_seen = max(flight.attempt_seen, attempt)
        flight.holders.add(holder)

    def not_held(self, now: float, since: float) -> dict[int, InFlight]:
        """Sessions in flight that no runner has claimed within the last `since` seconds."""
        return {s: f for s, f in self.in_flight.items() if now - f.held_at > since and not f.written_off}

    def written_off(self, spans: Iterable[tuple[int, int]]) -> None:
        """The conductor's record of these sessions is in the stream."""
        for first, last in spans:
            for session in range(first, last + 1):
                if flight := self.in_flight.get(session):
                    flight.written_off = True

    def waiting_sessions(self) -> Iterator[int]:
        for line in self._lines.values():
            for item in line:
                yield item.session

    def take_waiting(self, wanted: Callable[[ToSend], bool] = lambda item: True) -> list[ToSend]:
        """Take those out that are wanted: they are never sent."""
        return [item for line in self._lines.values() for item in line.take_out(wanted)]

    def drop_late(self, now: float) -> None:
        """Sessions whose time has passed wait no more: they are to be written off as dropped."""
        for line in self._lines.values():
            while item := line.first():
                start = self.schedule.start_of(item.session, self.job.started_at)
                if start is None or start + self.schedule.late_limit >= now:
                    break
                line.pop()
                self.dropped.append(item.session)

    def _is_gone(self, session: int) -> bool:
        return session in self.in_flight or session in self.fold.done

    def _fly(self, session: int, lane: str, seq: int, attempt: int, now: float) -> InFlight:
        flight = InFlight(lane=lane, seq=seq, attempt=attempt, since=now)
        self.in_flight[session] = flight
        self._count(session, None)
        platform = self.plan.platform(session)
        if session > self.sent_to.get(platform, 0):
            self.sent_to[platform] = session
            self.unsaved = True
        self.by_lane[lane] = self.by_lane.get(lane, 0) + 1
        return flight

    def _count(self, session: int, rate: float | None) -> None:
        """At the ceilings of its origins, from now on."""
        self.ceilings.enter(self.id, session, self.job.project, self.plan.reach(session), rate)

    def _land(self, session: int) -> InFlight | None:
        flight = self.in_flight.pop(session, None)
        if flight:
            self.by_lane[flight.lane] -= 1
            self.ceilings.release(self.id, session)
            if self.budget is not None:
                self.budget.release(session)
        return flight
