"""The conductor: one orchestrator at a time dispatches sessions and folds their records.

It keeps nothing that the broker does not hold. Any failure ends `conduct`; whoever leads next begins again
from the documents, the checkpoints, DISPATCH and PROGRESS.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

import msgspec

from broker_config import codec
from broker_config.errors import MessageError
from broker_config.job import Job
from broker_config.keyring import Keyring
from broker_config.messages import Dispatch
from broker_config.signature import Signer, Verifier
from broker_config.streams import PROGRESS
from broker_config.subjects import SESSION_RECORDS
from orchestrator.core.job_run import JobRun
from orchestrator.core.roster import Roster
from orchestrator.core.window import Window, places

from .attendance import Attendance
from .conducted import Conducted
from .dispatch_queue import DispatchQueue, Queued
from .jet import Jet
from .job_grants import JobGrants
from .job_herald import JobHerald
from .job_steward import TICK, JobSteward
from .job_store import STREAM as JOBS_STREAM
from .job_store import JobStore
from .job_store import subject as job_subject
from .kill_switch import KillSwitch
from .quarantine import Quarantine
from .record_intake import RecordIntake
from .stream_feed import FeedMessage, StreamFeed
from .sweeper import SWEEP_EVERY, Sweeper
from .target_guard import TargetGuard
from .target_watch import TargetWatch, Times

log = logging.getLogger(__name__)

_GRANTS_A_MESSAGE = 20


class Conductor:
    """`conduct` runs while this process leads. `sure` says whether nobody else can lead now. Without a
    keyring dispatches are not signed. `targets` says where jobs may go, and is asked again as `times` says;
    without it nobody is asked."""

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
        kills: KillSwitch | None = None,
        keyring: Keyring | None = None,
        targets: TargetGuard | None = None,
        times: Times | None = None,
    ) -> None:
        self._jet = jet
        self._store = store
        self._roster = roster
        self._quarantine = quarantine
        self._sure = sure
        self._clock = clock
        self._sweep_every = sweep_every
        self._kills = kills
        self._signer = Signer(keyring.dispatch) if keyring is not None else None
        self._verifier = Verifier(keyring.dispatch_keys) if keyring is not None else None
        self._targets = targets
        self._times = times or Times()
        self._grants = None
        if self._signer is not None:
            self._grants = JobGrants(self._signer, targets, times=self._times)

    async def conduct(self, token: int) -> None:
        """Conduct until cancelled; raises a `BrokerError` when the broker fails it."""
        jobs = Conducted(self._jet, self._store, sure=self._sure, clock=self._clock)
        if self._kills is not None:
            # Nothing may be sent before it is known what is killed.
            await self._kills.caught_up.wait()
            jobs.kills = self._kills.kills
        if self._targets is not None:
            await self._targets.store.caught_up.wait()
            jobs.watch = TargetWatch(
                self._targets,
                lambda: [run.job for run in jobs.runs.values()],
                clock=self._clock,
                changed=jobs.touch,
                renew=partial(self._renew, jobs),
                times=self._times,
            )
        queue = DispatchQueue(
            self._jet,
            clock=self._clock,
            signer=self._signer,
            verifier=self._verifier,
            refused=partial(self._quarantine.put, "dispatch"),
            grants=self._grants,
        )
        sweeper = Sweeper(jobs, queue, self._roster, every=self._sweep_every)
        turns = _Turns(jobs, queue, sweeper, self._roster, self._quarantine, self._targets)
        if self._kills is None:
            await turns.run()
            return
        self._kills.on_kill.append(jobs.killed)
        try:
            await turns.run()
        finally:
            self._kills.on_kill.remove(jobs.killed)

    async def _renew(self, jobs: Conducted, id: str) -> None:
        """Tell the runners that sessions of the job may go on where they are."""
        run = jobs.runs.get(id)
        if run is None or self._grants is None or not run.in_flight:
            return
        now = self._clock()
        by_target = {run.plan.target(session): session for session in run.in_flight}
        grants = [
            self._grants.of(msgspec.structs.replace(d, project=run.job.project), now)
            for d in map(run.plan.dispatch, by_target.values())
        ]
        # Many targets may have the same origins.
        grants = list({g.body: g for g in grants}.values())
        for i in range(0, len(grants), _GRANTS_A_MESSAGE):
            await self._store.renew(id, grants[i : i + _GRANTS_A_MESSAGE])


class _Turns:
    """One term of office: made anew each time, so that nothing of an earlier one is left."""

    def __init__(
        self,
        jobs: Conducted,
        queue: DispatchQueue,
        sweeper: Sweeper,
        roster: Roster,
        quarantine: Quarantine,
        targets: TargetGuard | None = None,
    ) -> None:
        self._targets = targets
        self._targets_seen = -1
        self._jobs = jobs
        self._jet = jobs.jet
        self._queue = queue
        self._sweeper = sweeper
        self._intake = RecordIntake(jobs, quarantine)
        self._attendance = Attendance(jobs, roster)
        self._herald = JobHerald(jobs)
        self._steward = JobSteward(jobs, queue, self._attendance, self._herald)
        self._window = Window()
        self._documents: deque[FeedMessage] = deque()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            # Before the documents: a job that is stored after they were read has its records after this.
            newest = await self._jet.last_seq(PROGRESS.name)
            documents = StreamFeed(self._jet, JOBS_STREAM, job_subject("*"), self._document)
            group.create_task(documents.run(), name="feed of jobs")
            await documents.caught_up.wait()
            await self._read_documents()
            start = min((r.fold.seq for r in self._jobs.runs.values()), default=newest)
            records = StreamFeed(
                self._jet, PROGRESS.name, SESSION_RECORDS, self._intake.put, start=min(start, newest) + 1
            )
            group.create_task(records.run(), name="feed of records")
            queued = await self._queue.scan()
            await records.caught_up.wait()
            await self._intake.fold()
            await self._lay_out(queued)
            group.create_task(self._sweeper.listen(), name="advisories")
            group.create_task(self._attendance.hear_starts(), name="started sessions")
            if self._jobs.watch is not None:
                group.create_task(self._jobs.watch.run(), name="targets of jobs")
            log.info("conducting %d jobs", len(self._jobs.runs))
            while True:
                await self._turn()

    async def _turn(self) -> None:
        """Take in what has come, decide, send, tell; then wait for more, or for the next tick."""
        self._jobs.wake.clear()
        for run in await self._read_documents():
            run.lay_out([], self._jobs.clock())
        left_over = await self._intake.fold()
        now = self._jobs.clock()
        self._attendance.look(now)
        await self._attendance.repeat_cancels()
        await self._steward.steer_all(now)
        await self._dispatch(now)
        await self._queue.withdraw_all(left_over)
        await self._sweeper.sweep(now)
        await self._herald.all(now)
        try:
            async with asyncio.timeout(TICK):
                await self._jobs.wake.wait()
        except TimeoutError:
            pass

    def _document(self, message: FeedMessage) -> None:
        self._documents.append(message)
        self._jobs.wake.set()

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
            run = self._jobs.runs.get(job.id)
            if run is not None:
                if message.seq > run.revision:
                    run.job, run.revision = job, message.seq
                    run.dirty = True
                    self._jobs.touched.add(job.id)
            elif job.state == "finished":
                self._jobs.finished.add(job.id)
                await self._herald.complete(job, message.seq)
            else:
                new.append(await self._jobs.take_on(job, message.seq))
        return new

    async def _lay_out(self, queued: list[Queued]) -> None:
        """Find out which sessions wait: those with neither record nor message."""
        now = self._jobs.clock()
        found: dict[str, list[Queued]] = {}
        for q in queued:
            found.setdefault(q.dispatch.job, []).append(q)
        for id, run in self._jobs.runs.items():
            await self._queue.withdraw_all(run.lay_out(found.pop(id, []), now))
        for left in found.values():
            # Of jobs that are finished or unknown: nobody would count them.
            await self._queue.withdraw_all(q.seq for q in left)

    def _look_at_targets(self) -> None:
        if self._targets is not None and self._targets.store.version != self._targets_seen:
            self._targets_seen = self._targets.store.version
            self._jobs.ceilings.set(self._targets.store.known.values())

    async def _dispatch(self, now: float) -> None:
        self._look_at_targets()
        lanes = self._attendance.lanes
        in_use: Counter[str] = Counter()
        for run in self._jobs.runs.values():
            in_use.update(run.by_lane)
        free = {lane: places(slots, in_use[lane]) for lane, slots in lanes.slots.items()}
        living = [
            r
            for r in self._jobs.runs.values()
            if self._jobs.kill_of(r.job) is None and self._jobs.cleared(r.job)
        ]
        offers = [o for r in living if (o := r.offer(now, lanes, free))]
        for lane, n_free in free.items():
            by_job = {o.id: o for o in offers if o.waiting(lane)}
            batch: list[tuple[JobRun, Dispatch]] = []
            for id, n in self._window.fill(lane, n_free, list(by_job.values())):
                run = self._jobs.runs[id]
                seen = max(self._jobs.kills.revision, run.job.kills)
                batch += [
                    (run, msgspec.structs.replace(message, kills=seen, project=run.job.project))
                    for message in run.take(by_job[id], lane, n)
                ]
            if not batch:
                continue
            self._jobs.must_lead()
            seqs = await self._queue.send([message for _, message in batch])
            for (run, message), seq in zip(batch, seqs, strict=True):
                run.sent(lane, message, seq, now)
