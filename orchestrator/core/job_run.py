"""A job while it is conducted: its fold, and which sessions wait, are dispatched, or have ended. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from broker_config.job import Checkpoint, Job
from broker_config.load import peak
from broker_config.messages import ConductorRecord, Dispatch, JobProgress, SessionRecord
from broker_config.threshold import Threshold
from broker_config.threshold import parse as parse_threshold

from .bitmap import ranges
from .fold import Fold
from .plan import Plan
from .progress import Rate
from .window import lane_of

#: A session that no runner has named for so long is not running: two heartbeats and a little, s.
UNCLAIMED_AFTER = 2.5


class InFlight(msgspec.Struct):
    """A session that was dispatched and has no counted record yet. `seq` is its message in DISPATCH, 0 where
    that is gone; times are of the conductor's clock."""

    lane: str
    seq: int
    attempt: int
    since: float
    #: When a runner last said that it holds the session; 0 for never.
    held_at: float = 0.0
    #: Highest attempt that a runner was seen to make.
    attempt_seen: int = 0
    #: Runner instances that were seen to hold it.
    holders: set[str] = set()
    #: Sweeps in a row that found neither message nor holder.
    missed: int = 0
    #: The conductor has written its record, which has not come back by the feed yet.
    written_off: bool = False


class ToSend(NamedTuple):
    session: int
    attempt: int


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
        if checkpoint is None:
            self.fold.seq = job.after_seq
        self.progress_seq = checkpoint.progress_seq if checkpoint else 0
        self.thresholds: list[Threshold] = [parse_threshold(t) for t in job.spec.expressions]
        self.rate = Rate()
        self.in_flight: dict[int, InFlight] = {}
        #: Sessions in flight by lane: what counts against the lane's window.
        self.by_lane: dict[str, int] = {}
        self._waiting: dict[str, deque[ToSend]] = {}
        #: Something changed since the last progress / the last checkpoint.
        self.dirty = True
        self.unsaved = True
        self.progress: JobProgress | None = checkpoint.progress if checkpoint else None
        self.progress_at = 0.0
        self.saved_at = 0.0
        self.cancel_since: float | None = None

    # --- what the window asks ----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def priority(self) -> int:
        return self.job.spec.priority

    @property
    def room(self) -> int:
        if self.job.desired != "run" or self.job.state == "finished":
            return 0
        return max(0, peak(self.job.spec.load) - len(self.in_flight))

    def waiting(self, lane: str) -> int:
        queue = self._waiting.get(lane)
        return len(queue) if queue else 0

    @property
    def lanes(self) -> list[str]:
        """Lanes that sessions wait for."""
        return [lane for lane, queue in self._waiting.items() if queue]

    # --- moves -------------------------------------------------------------------------------------------

    def lay_out(self, found: Iterable[tuple[int, Dispatch]], now: float) -> list[int]:
        """Start from what the broker holds: `(sequence, message)` of the job in DISPATCH. What has neither
        record nor message waits. Returns sequences of messages that are of no use any more."""
        stale = []
        for seq, d in found:
            known = 1 <= d.session <= self.plan.size and d.session not in self.fold.done
            if known and d.session not in self.in_flight:
                self._fly(d.session, lane_of(d.platform, d.pool), seq, d.attempt, now)
            else:
                stale.append(seq)
        for platform, sessions in self.plan.sessions_by_platform().items():
            self._waiting[lane_of(platform, self.job.spec.pool)] = deque(
                ToSend(s, 1) for s in sessions if s not in self.fold.done and s not in self.in_flight
            )
        return stale

    def take(self, lane: str, n: int) -> list[ToSend]:
        """The next `n` sessions of the lane, out of the waiting ones; those that ended meanwhile are left
        out."""
        queue = self._waiting[lane]
        out: list[ToSend] = []
        while queue and len(out) < n:
            item = queue.popleft()
            if item.session not in self.fold.done and item.session not in self.in_flight:
                out.append(item)
        return out

    def sent(self, lane: str, item: ToSend, seq: int, now: float) -> None:
        """The session's message is in DISPATCH."""
        flight = self.in_flight.get(item.session)
        if flight is None:
            self._fly(item.session, lane, seq, item.attempt, now)
        else:
            # A runner has told of its start before the broker's answer was here.
            flight.seq, flight.attempt = seq, item.attempt
        self.dirty = True

    def apply(self, seq: int, record: SessionRecord | ConductorRecord, at: float | None = None) -> list[int]:
        """Fold a record; sequences of DISPATCH messages that nobody will ack any more."""
        superseded = self.fold.superseded
        left_over = []
        for session in self.fold.apply(seq, record, at):
            flight = self._land(session)
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
            self._waiting.setdefault(flight.lane, deque()).appendleft(ToSend(session, attempt))
            self.dirty = True

    def hold(self, session: int, attempt: int, holder: str, lane: str, now: float) -> None:
        """A runner says that it holds the session."""
        if session in self.fold.done or not 1 <= session <= self.plan.size:
            return
        flight = self.in_flight.get(session)
        if flight is None:
            # Withdrawn a moment too late: it runs, so it must not be sent again meanwhile, nor wait twice
            # should it vanish.
            self._waiting[lane] = deque(i for i in self._waiting.get(lane, ()) if i.session != session)
            flight = self._fly(session, lane, 0, attempt, now)
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

    def open_ranges(self, sessions: Iterable[int] | None = None) -> list[tuple[int, int]]:
        """Ranges of sessions without a record: all, or of the given ones."""
        if sessions is None:
            return list(self.fold.done.missing())
        return ranges([s for s in sessions if s not in self.fold.done])

    def waiting_sessions(self) -> Iterator[int]:
        for queue in self._waiting.values():
            for item in queue:
                if item.session not in self.fold.done and item.session not in self.in_flight:
                    yield item.session

    def drop_waiting(self) -> None:
        """Nothing waits any more: the job is being cancelled."""
        self._waiting.clear()

    def _fly(self, session: int, lane: str, seq: int, attempt: int, now: float) -> InFlight:
        flight = InFlight(lane=lane, seq=seq, attempt=attempt, since=now)
        self.in_flight[session] = flight
        self.by_lane[lane] = self.by_lane.get(lane, 0) + 1
        return flight

    def _land(self, session: int) -> InFlight | None:
        flight = self.in_flight.pop(session, None)
        if flight:
            self.by_lane[flight.lane] -= 1
        return flight
