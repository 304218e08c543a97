"""What is told of running jobs: headlines at most ten times a second, checkpoints about once a second."""

from __future__ import annotations

from broker_config import codec
from broker_config.job import Job
from broker_config.messages import JobProgress
from broker_config.subjects import job_progress
from orchestrator.core import verdict
from orchestrator.core.job_run import UNCLAIMED_AFTER, JobRun
from orchestrator.core.progress import headline

from .conducted import Conducted

#: Seconds between headlines of a job, between those of one in which nothing ends, between checkpoints.
PROGRESS_EVERY = 0.1
IDLE_PROGRESS_EVERY = 1.0
CHECKPOINT_EVERY = 1.0
#: Jobs that ended longer ago than this are not looked at again, s.
JUST = 600.0
#: Headlines in one turn of the conductor, so that a thousand jobs do not cost a core.
HEADLINES_PER_TURN = 20


class JobHerald:
    def __init__(self, jobs: Conducted) -> None:
        self._jobs = jobs

    async def all(self, now: float) -> None:
        """Headlines and checkpoints of what has changed, conflated."""
        budget = HEADLINES_PER_TURN
        for run in self._jobs.runs.values():
            if run.in_flight and now - run.progress_at >= IDLE_PROGRESS_EVERY:
                run.dirty = True  # the rate falls and runners move although nothing ends
            if budget and run.dirty and now - run.progress_at >= PROGRESS_EVERY:
                budget -= 1
                await self.publish(run, now)
            if run.unsaved and now - run.saved_at >= CHECKPOINT_EVERY:
                await self.save(run, now)

    def _headline(self, run: JobRun, now: float) -> JobProgress:
        run.progress_seq += 1
        # One that a runner holds for its time is not running yet.
        held = [f for f in run.in_flight.values() if now - f.held_at <= UNCLAIMED_AFTER and f.start_at <= now]
        return headline(
            run.job,
            run.fold,
            seq=run.progress_seq,
            at=now,
            rate=run.rate.at(now, run.fold.ended),
            running=len(held),
            dispatched=len(run.in_flight) - len(held),
            runners=len({h for f in held for h in f.holders}),
            thresholds=verdict.holds(run.thresholds, run.fold),
        )

    async def publish(self, run: JobRun, now: float) -> None:
        """Say how the job stands on `job.progress.<job>`."""
        run.progress = self._headline(run, now)
        run.progress_at = now
        run.dirty = False
        await self._jobs.jet.nc.publish(job_progress(run.id), codec.encode(run.progress))

    async def complete(self, job: Job, revision: int) -> None:
        """Say the last word of a job that has just finished, where its conductor died before that."""
        now = self._jobs.clock()
        if now - (job.ended_at or 0.0) > JUST:
            return
        checkpoint, _ = await self._jobs.store.read_checkpoint(job.id)
        if checkpoint is None or (checkpoint.progress and checkpoint.progress.state == "finished"):
            return
        run = await self._jobs.take_on(job, revision)
        del self._jobs.runs[job.id]
        await self.publish(run, now)
        await self.save(run, now)

    async def save(self, run: JobRun, now: float) -> None:
        """Store the checkpoint of the job's fold."""
        self._jobs.must_lead()
        checkpoint = run.fold.checkpoint(run.progress_seq)
        checkpoint.progress = run.progress
        checkpoint.sent = run.sent_to
        run.checkpoint_revision = await self._jobs.store.write_checkpoint(checkpoint, run.checkpoint_revision)
        run.unsaved = False
        run.saved_at = now
