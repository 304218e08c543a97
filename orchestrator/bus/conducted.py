"""The jobs that are conducted now, and the writes that only the conductor may make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from broker_config import codec
from broker_config.errors import Conflict, JobNotFound, MessageError
from broker_config.job import Job
from broker_config.kill import Kill
from broker_config.messages import ConductorRecord, ErrorInfo, OwedStatus
from broker_config.streams import PROGRESS
from broker_config.subjects import CONDUCTOR, session_record
from orchestrator.core.ceilings import Ceilings
from orchestrator.core.job_run import JobRun
from orchestrator.core.kill import Kills
from orchestrator.core.plan import Plan

from .jet import Jet
from .job_store import JobStore
from .target_watch import TargetWatch

#: Ranges in one record: two numbers of seven digits each stay far below the broker's 1 MiB.
MAX_RANGES = 20_000


class Conducted:
    """Shared by the conductor's parts. `sure` says whether nobody else can lead now."""

    def __init__(
        self, jet: Jet, store: JobStore, *, sure: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        self.jet = jet
        self.store = store
        self.clock = clock
        self._sure = sure
        self.runs: dict[str, JobRun] = {}
        #: Jobs that are finished: a record of one of them is late, not foreign.
        self.finished: set[str] = set()
        #: Jobs to which something has happened since they were last steered.
        self.touched: set[str] = set()
        #: What is killed, as it is known now.
        self.kills = Kills()
        #: Where jobs may go, and what was found out of that; None: nobody asks.
        self.watch: TargetWatch | None = None
        #: Those of origins, for all jobs together.
        self.ceilings = Ceilings()
        #: Set when there is something to do before the next tick.
        self.wake = asyncio.Event()

    def kill_of(self, job: Job) -> Kill | None:
        """The kill that covers the job."""
        return self.kills.of(job.id, job.project, job.kills)

    def killed(self, kill: Kill) -> None:
        """A kill is heard of: what it covers is to be steered now."""
        self.touched |= {id for id, run in self.runs.items() if self.kill_of(run.job) is not None}
        self.wake.set()

    def cleared(self, job: Job) -> bool:
        """Whether sessions of the job may be sent to its origins now."""
        return self.watch is None or self.watch.cleared(job)

    def touch(self, id: str) -> None:
        """The job is to be steered now."""
        self.touched.add(id)
        self.wake.set()

    def must_lead(self) -> None:
        """Asked before each write that a successor could not undo. Raises `Conflict`."""
        if not self._sure():
            raise Conflict("this orchestrator may not conduct any more")

    async def take_on(self, job: Job, revision: int) -> JobRun:
        """Begin to conduct a job from its checkpoint; which of its sessions wait is not known yet."""
        checkpoint, checkpoint_revision = await self.store.read_checkpoint(job.id)
        last = await self.jet.get(PROGRESS.name, session_record(job.id, CONDUCTOR))
        plan = await asyncio.to_thread(Plan, job.id, job.spec)
        run = JobRun(
            job,
            revision,
            plan,
            checkpoint,
            checkpoint_revision=checkpoint_revision,
            conductor_seq=last.revision if last else 0,
        )
        run.ceilings = self.ceilings
        # Updates that the conductor before published after its last checkpoint must not be repeated.
        run.progress_seq += 1_000 if checkpoint else 0
        self.runs[job.id] = run
        self.touched.add(job.id)
        return run

    async def look_for(self, id: str) -> JobRun | None:
        """A job whose record has come before its document: the two feeds are not in step."""
        try:
            job, revision = await self.store.read(id)
        except (JobNotFound, MessageError):
            return None
        if job.state == "finished":
            self.finished.add(id)
            return None
        run = await self.take_on(job, revision)
        run.lay_out([], self.clock())
        return run

    async def change(self, run: JobRun, **changes: object) -> None:
        """Write the job's document; one that a user changed meanwhile is read again."""
        job = msgspec.structs.replace(run.job, **changes)
        try:
            run.revision = await self.store.write(job, run.revision)
        except Conflict:
            run.job, run.revision = await self.store.read(run.id)
            return
        run.job = job
        run.dirty = run.unsaved = True

    async def write_off(
        self,
        run: JobRun,
        sessions: list[tuple[int, int]],
        status: OwedStatus,
        error: ErrorInfo | None = None,
        attempt: int = 0,
    ) -> None:
        """Write the terminal record that the conductor owes for ranges of sessions, or several for many.

        It counts when it comes back by the feed. Compare-and-set on the last such record of the job keeps a
        conductor that was replaced from writing one.
        """
        for i in range(0, len(sessions), MAX_RANGES):
            part = sessions[i : i + MAX_RANGES]
            record = ConductorRecord(
                job=run.id, sessions=part, status=status, at=self.clock(), error=error, attempt=attempt
            )
            self.must_lead()
            ack = await self.jet.publish(
                session_record(run.id, CONDUCTOR), codec.encode(record), expected_last=run.conductor_seq
            )
            run.conductor_seq = ack.seq
            run.written_off(part)
