"""The conductor: one orchestrator at a time dispatches sessions and folds their records.

It keeps nothing that the broker does not hold. Any failure ends `conduct`; whoever leads next begins again
from the documents, the checkpoints, DISPATCH and PROGRESS.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from nats.aio.msg import Msg

from broker_config import codec
from broker_config.api import RunnerView
from broker_config.errors import Conflict, JobNotFound, MessageError
from broker_config.job import Job
from broker_config.messages import (
    PROTOCOL,
    PROTOCOL_OLDEST,
    ConductorRecord,
    ErrorInfo,
    JobLog,
    JobProgress,
    SessionRecord,
    SessionStatus,
)
from broker_config.streams import PROGRESS
from broker_config.subjects import (
    CONDUCTOR,
    JOB_LOGS,
    SESSION_RECORDS,
    job_progress,
    parse_session_record,
    session_record,
)
from orchestrator.core import job_machine, verdict
from orchestrator.core.job_run import JobRun, ToSend
from orchestrator.core.plan import Plan
from orchestrator.core.progress import counts, headline
from orchestrator.core.roster import Roster
from orchestrator.core.window import Window, lane_of, places, slots_by_lane

from .dispatch_queue import DispatchQueue, Queued
from .jet import Jet
from .job_store import STREAM as JOBS_STREAM
from .job_store import JobStore
from .job_store import subject as job_subject
from .quarantine import Quarantine
from .stream_feed import FeedMessage, StreamFeed
from .sweeper import SWEEP_EVERY, Sweeper

log = logging.getLogger(__name__)

#: Seconds between looks at the clock when nothing happens.
TICK = 0.1
PROGRESS_EVERY = 0.1
IDLE_PROGRESS_EVERY = 1.0
CHECKPOINT_EVERY = 1.0
#: After a cancel, sessions that no runner reports are written off after this long, s.
CANCEL_GRACE = 5.0
#: Two heartbeats: a session that no runner named for so long is not running, s.
UNCLAIMED_AFTER = 2.5
#: A record of a runner is a kilobyte or so.
MAX_RECORD_BYTES = 64 * 1024
#: Headlines a second over all jobs, so that a thousand jobs do not cost a core.
HEADLINES_PER_TURN = 20


class Conductor:
    """`conduct` runs while this process leads. `sure` says whether nobody else can lead now."""

    def __init__(
        self,
        jet: Jet,
        store: JobStore,
        roster: Roster,
        *,
        quarantine: Quarantine,
        sure: Callable[[], bool],
        clock: Callable[[], float],
        sweep_every: float = SWEEP_EVERY,
    ) -> None:
        self._jet = jet
        self._store = store
        self._roster = roster
        self._quarantine = quarantine
        self._sure = sure
        self._clock = clock
        self._queue = DispatchQueue(jet)
        self._runs: dict[str, JobRun] = {}
        self._window = Window()
        self._sweeper = Sweeper(jet, self._queue, roster, every=sweep_every)
        self._wake = asyncio.Event()
        self._documents: deque[FeedMessage] = deque()
        self._records: deque[FeedMessage] = deque()
        self._roster_version = -1
        self._online: Mapping[str, int] = {}
        self._touched: set[str] = set()
        self._unheard: set[str] = set()
        self._steered_at = 0.0
        #: Jobs that are finished: a record of one of them is late, not foreign.
        self._finished: set[str] = set()

    async def conduct(self, token: int) -> None:
        """Conduct until cancelled; raises a `BrokerError` when the broker fails it."""
        self._runs.clear()
        self._documents.clear()
        self._records.clear()
        async with asyncio.TaskGroup() as group:
            # Before the documents: a job that is stored after they were read has its records after this.
            newest = await self._jet.last_seq(PROGRESS.name)
            documents = StreamFeed(self._jet, JOBS_STREAM, job_subject("*"), self._document)
            group.create_task(documents.run(), name="feed of jobs")
            await documents.caught_up.wait()
            await self._read_documents()
            start = min((r.fold.seq for r in self._runs.values()), default=newest)
            records = StreamFeed(
                self._jet, PROGRESS.name, SESSION_RECORDS, self._record, start=min(start, newest) + 1
            )
            group.create_task(records.run(), name="feed of records")
            queued = await self._queue.scan()
            await records.caught_up.wait()
            await self._fold()
            await self._lay_out(queued)
            group.create_task(self._sweeper.listen(self._wake.set), name="advisories")
            group.create_task(self._hear_starts(), name="started sessions")
            log.info("conducting %d jobs", len(self._runs))
            await self._loop()

    # --- what comes in -----------------------------------------------------------------------------------

    def _document(self, message: FeedMessage) -> None:
        self._documents.append(message)
        self._wake.set()

    def _record(self, message: FeedMessage) -> None:
        self._records.append(message)
        self._wake.set()

    async def _read_documents(self) -> list[JobRun]:
        """Take in new and changed jobs; the new ones."""
        new = []
        while self._documents:
            message = self._documents.popleft()
            if message.deleted:
                continue
            try:
                job = codec.decode(message.data, Job)
            except MessageError as e:
                log.error("%s is left alone: %s", message.subject, e)
                continue
            run = self._runs.get(job.id)
            if run is not None:
                if message.seq > run.revision:
                    run.job, run.revision = job, message.seq
                    run.dirty = True
                    self._touched.add(job.id)
            elif job.state == "finished":
                self._finished.add(job.id)
            else:
                self._runs[job.id] = run = await self._load(job, message.seq)
                self._touched.add(job.id)
                new.append(run)
        return new

    async def _load(self, job: Job, revision: int) -> JobRun:
        checkpoint, checkpoint_revision = await self._store.read_checkpoint(job.id)
        last = await self._jet.get(PROGRESS.name, session_record(job.id, CONDUCTOR))
        plan = await asyncio.to_thread(Plan, job.id, job.spec)
        run = JobRun(
            job,
            revision,
            plan,
            checkpoint,
            checkpoint_revision=checkpoint_revision,
            conductor_seq=last.revision if last else 0,
        )
        # Updates that the conductor before published after its last checkpoint must not be repeated.
        run.progress_seq += 1_000 if checkpoint else 0
        return run

    async def _lay_out(self, queued: list[Queued]) -> None:
        """Find out which sessions wait: those with neither record nor message."""
        now = self._clock()
        found: dict[str, list[Queued]] = {}
        for q in queued:
            found.setdefault(q.dispatch.job, []).append(q)
        for id, run in self._runs.items():
            await self._queue.withdraw_all(run.lay_out(found.pop(id, []), now))
        for left in found.values():
            # Of jobs that are finished or unknown: nobody would count them.
            await self._queue.withdraw_all(q.seq for q in left)

    # --- the loop ----------------------------------------------------------------------------------------

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            for run in await self._read_documents():
                run.lay_out([], self._clock())
            left_over = await self._fold()
            now = self._clock()
            self._hear_runners(now)
            await self._repeat_cancels()
            await self._steer_all(now)
            await self._dispatch(now)
            await self._queue.withdraw_all(left_over)
            await self._sweeper.sweep(self._runs, now, self._write_off)
            await self._publish(now)
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _fold(self) -> list[int]:
        """Fold what the feed has brought; sequences of DISPATCH messages that nobody will ack any more."""
        left_over: list[int] = []
        strangers: set[str] = set()
        while self._records:
            message = self._records.popleft()
            job, writer = parse_session_record(message.subject)
            run = self._runs.get(job)
            if run is None and job not in self._finished and job not in strangers:
                run = await self._look_for(job)
                if run is None and job not in self._finished:
                    strangers.add(job)
            if run is None:
                if job in strangers:
                    self._quarantine.put("record", message.subject, message.data, f"there is no job {job}")
                continue
            try:
                record = _read_record(message.data, job, writer)
            except MessageError as e:
                self._quarantine.put("record", message.subject, message.data, str(e))
                run.fold.seq = max(run.fold.seq, message.seq)
                continue
            foreign = run.fold.foreign
            left_over += run.apply(message.seq, record, message.at)
            if run.fold.foreign != foreign:
                self._quarantine.put("record", message.subject, message.data, "no such session in the plan")
            self._touched.add(job)
            if writer == CONDUCTOR:
                run.conductor_seq = max(run.conductor_seq, message.seq)
        return left_over

    async def _look_for(self, id: str) -> JobRun | None:
        """A job whose record has come before its document: the two feeds are not in step."""
        try:
            job, revision = await self._store.read(id)
        except (JobNotFound, MessageError):
            return None
        if job.state == "finished":
            self._finished.add(id)
            return None
        run = self._runs[id] = await self._load(job, revision)
        run.lay_out([], self._clock())
        return run

    async def _hear_starts(self) -> None:
        """Sessions as they start: heartbeats alone would miss the short ones."""

        async def take(msg: Msg) -> None:
            if b'"started"' not in msg.data:
                return
            try:
                said = codec.decode(msg.data, JobLog)
            except MessageError:
                return
            run = self._runs.get(said.job)
            runner = self._roster.get(said.runner)
            if run is None or runner is None or said.event != "started":
                return
            self._hold(run, said.session, said.attempt, runner, self._clock())

        sub = await self._jet.nc.subscribe(JOB_LOGS, cb=take)
        try:
            await asyncio.Event().wait()
        finally:
            await sub.unsubscribe()

    @staticmethod
    def _hold(run: JobRun, session: int, attempt: int, runner: RunnerView, now: float) -> None:
        if 1 <= session <= run.plan.size:
            lane = lane_of(run.plan.platform(session), run.job.spec.pool)
            run.hold(session, attempt, f"{runner.id}/{runner.instance}", lane, now)

    def _hear_runners(self, now: float) -> None:
        if self._roster.version == self._roster_version:
            return
        self._roster_version = self._roster.version
        self._online = slots_by_lane(
            ([p.platform for p in r.platforms], r.pool, r.slots) for r in self._roster.online()
        )
        for runner in self._roster.all():
            if runner.state in ("lost", "offline"):
                continue
            for s in runner.running:
                run = self._runs.get(s.job)
                if run is not None:
                    self._hold(run, s.session, s.attempt, runner, now)
                if s.job in self._finished or (run is not None and run.job.desired == "cancel"):
                    # It was away when the job was cancelled, or runs what others have ended.
                    self._unheard.add(s.job)

    async def _repeat_cancels(self) -> None:
        """Tell runners that still run sessions of a job which is over; heartbeats come once a second."""
        unheard, self._unheard = self._unheard, set()
        for job in unheard:
            await self._store.announce(job, "cancel")

    async def _steer_all(self, now: float) -> None:
        """Steer what something has happened to, and everything at each tick."""
        touched, self._touched = self._touched, set()
        if now - self._steered_at >= TICK:
            self._steered_at = now
            touched = set(self._runs)
        for id in touched:
            if run := self._runs.get(id):
                await self._steer(run, now)

    async def _steer(self, run: JobRun, now: float) -> None:
        """Bring the job's state to where its owner and its records want it."""
        job = run.job
        limit = job.spec.load.max_duration
        if limit and job.desired == "run" and job.started_at and now - job.started_at > limit:
            await self._change(run, desired="cancel", reason=f"took longer than max_duration ({limit})")
            await self._store.announce(job.id, "cancel")
        waiting_for = self._waiting_for(run)
        state = job_machine.next_state(
            run.job, dispatched_any=bool(run.in_flight or run.fold.done.count), all_ended=run.fold.finished
        )
        if state == "finished":
            await self._finish(run, now)
            return
        if state != run.job.state or waiting_for != run.job.waiting_for:
            started = run.job.started_at or (now if state == "running" else None)
            await self._change(run, state=state, waiting_for=waiting_for, started_at=started)
            log.info(
                "job %s is %s%s", run.id, state, f", waiting for {', '.join(waiting_for)}" * bool(waiting_for)
            )
        if run.job.desired == "pause":
            await self._take_back(run, now)
        elif run.job.desired == "cancel":
            await self._cancel(run, now)

    def _waiting_for(self, run: JobRun) -> list[str]:
        if run.job.desired != "run":
            return []
        return sorted(lane for lane in run.lanes if not self._online.get(lane))

    async def _change(self, run: JobRun, **changes: object) -> None:
        """Write the job's document; one that a user changed meanwhile is read again by the feed."""
        job = msgspec.structs.replace(run.job, **changes)
        try:
            run.revision = await self._store.write(job, run.revision)
        except Conflict:
            run.job, run.revision = await self._store.read(run.id)
            return
        run.job = job
        run.dirty = run.unsaved = True

    async def _take_back(self, run: JobRun, now: float) -> None:
        """A pause: what no runner has begun goes back to wait."""
        for session, flight in run.not_held(now, UNCLAIMED_AFTER).items():
            if flight.seq and await self._queue.withdraw(flight.seq):
                run.put_back(session, flight.attempt)

    async def _cancel(self, run: JobRun, now: float) -> None:
        """Write off what never began at once, and what runners do not report in time after the grace."""
        if run.cancel_since is None:
            run.cancel_since = now
            never_begun = run.open_ranges(run.waiting_sessions())
            run.drop_waiting()
            await self._write_off(run, never_begun, "cancelled", None)
            for flight in list(run.in_flight.values()):
                if flight.seq and not flight.held_at:
                    await self._queue.withdraw(flight.seq)
            return
        overdue = now - run.cancel_since > CANCEL_GRACE
        unclaimed = run.in_flight if overdue else run.not_held(now, UNCLAIMED_AFTER)
        gone = [s for s, f in unclaimed.items() if overdue or now - run.cancel_since > UNCLAIMED_AFTER]
        if gone and not run.fold.finished:
            await self._write_off(run, run.open_ranges(gone), "cancelled", None)

    async def _write_off(
        self,
        run: JobRun,
        sessions: list[tuple[int, int]],
        status: SessionStatus,
        error: ErrorInfo | None,
        attempt: int = 0,
    ) -> None:
        """Write the terminal record that the conductor owes. It counts when it comes back by the feed."""
        if not sessions:
            return
        record = ConductorRecord(
            job=run.id, sessions=sessions, status=status, at=self._clock(), error=error, attempt=attempt
        )
        self._must_lead()
        ack = await self._jet.publish(
            session_record(run.id, CONDUCTOR), codec.encode(record), expected_last=run.conductor_seq
        )
        run.conductor_seq = ack.seq

    def _must_lead(self) -> None:
        if not self._sure():
            raise Conflict("this orchestrator may not conduct any more")

    # --- what goes out -----------------------------------------------------------------------------------

    async def _dispatch(self, now: float) -> None:
        running = [r for r in self._runs.values() if r.job.desired == "run"]
        for lane, slots in self._online.items():
            queues = [r for r in running if r.waiting(lane)]
            if not queues:
                continue
            free = places(slots, sum(r.by_lane.get(lane, 0) for r in self._runs.values()))
            batch: list[tuple[JobRun, ToSend]] = []
            for id, n in self._window.fill(lane, free, queues):
                run = self._runs[id]
                batch += [(run, item) for item in run.take(lane, n)]
            if not batch:
                continue
            self._must_lead()
            seqs = await self._queue.send(
                [
                    run.plan.dispatch(item.session, attempt=item.attempt, generation=run.job.generation)
                    for run, item in batch
                ]
            )
            for (run, item), seq in zip(batch, seqs, strict=True):
                run.sent(lane, item, seq, now)

    async def _publish(self, now: float) -> None:
        """Headlines and checkpoints of what has changed."""
        budget = HEADLINES_PER_TURN
        for run in self._runs.values():
            if run.in_flight and now - run.progress_at >= IDLE_PROGRESS_EVERY:
                run.dirty = True  # the rate falls and runners move although nothing ends
            if budget and run.dirty and now - run.progress_at >= PROGRESS_EVERY:
                budget -= 1
                await self._publish_progress(run, now)
            if run.unsaved and now - run.saved_at >= CHECKPOINT_EVERY:
                await self._save(run, now)

    def _headline(self, run: JobRun, now: float) -> JobProgress:
        run.progress_seq += 1
        held = [f for f in run.in_flight.values() if now - f.held_at <= UNCLAIMED_AFTER]
        return headline(
            run.job,
            run.fold,
            seq=run.progress_seq,
            at=now,
            rate=run.rate.at(now, run.fold.done.count),
            running=len(held),
            dispatched=len(run.in_flight) - len(held),
            runners=len({h for f in held for h in f.holders}),
            thresholds=verdict.holds(run.thresholds, run.fold),
        )

    async def _publish_progress(self, run: JobRun, now: float) -> None:
        run.progress = self._headline(run, now)
        run.progress_at = now
        run.dirty = False
        await self._jet.nc.publish(job_progress(run.id), codec.encode(run.progress))

    async def _save(self, run: JobRun, now: float) -> None:
        self._must_lead()
        checkpoint = run.fold.checkpoint(run.progress_seq)
        checkpoint.progress = run.progress
        run.checkpoint_revision = await self._store.write_checkpoint(checkpoint, run.checkpoint_revision)
        run.unsaved = False
        run.saved_at = now

    async def _finish(self, run: JobRun, now: float) -> None:
        """Every session has its record: judge, and write the end down."""
        judgement = verdict.judge(
            run.thresholds, run.fold, cancelled=run.job.desired == "cancel", reason=run.job.reason
        )
        run.job = job_machine.move(
            run.job,
            "finished",
            verdict=judgement.verdict,
            reason=judgement.reason,
            ended_at=now,
            waiting_for=[],
            counts=counts(run.fold),
        )
        # The checkpoint first: a finished job must never lack its last one. It says so once the document
        # does, since until then a user's order can still change the verdict.
        await self._save(run, now)
        try:
            run.revision = await self._store.write(run.job, run.revision)
        except Conflict:
            # A user's order came in between: it is too late for it, but the verdict must see it.
            run.job, run.revision = await self._store.read(run.id)
            run.dirty = True
            return
        await self._publish_progress(run, now)
        await self._save(run, now)
        log.info("job %s is finished: %s %s", run.id, run.job.verdict, run.job.reason)
        del self._runs[run.id]
        self._finished.add(run.id)
        await self._queue.withdraw_all(f.seq for f in run.in_flight.values() if f.seq)


def _read_record(data: bytes, job: str, writer: str) -> SessionRecord | ConductorRecord:
    """A record whose content agrees with its subject; else `MessageError`."""
    if writer == CONDUCTOR:
        owed = codec.decode(data, ConductorRecord)
        if owed.job != job:
            raise MessageError(f"its content is of job {owed.job}, not of {job}")
        return owed
    record = codec.decode(data, SessionRecord, MAX_RECORD_BYTES)
    if not PROTOCOL_OLDEST <= record.protocol <= PROTOCOL:
        raise MessageError(f"it is of protocol {record.protocol}, not {PROTOCOL_OLDEST} to {PROTOCOL}")
    if record.job != job or record.runner != writer:
        raise MessageError(f"its content is of job {record.job} and runner {record.runner}")
    return record
