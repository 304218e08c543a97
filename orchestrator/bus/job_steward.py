"""Brings each job to where its owner and its records want it: running, paused, cancelled, finished."""

from __future__ import annotations

import logging

from broker_config.errors import Conflict
from orchestrator.core import job_machine, verdict
from orchestrator.core.job_run import JobRun
from orchestrator.core.progress import counts
from orchestrator.core.window import shown

from .attendance import Attendance
from .conducted import Conducted
from .dispatch_queue import DispatchQueue
from .job_herald import JobHerald
from .time_keeper import TimeKeeper

log = logging.getLogger(__name__)

#: Seconds after which every job is looked at, whether anything has happened to it or not.
TICK = 0.1


class JobSteward:
    def __init__(
        self, jobs: Conducted, queue: DispatchQueue, attendance: Attendance, herald: JobHerald
    ) -> None:
        self._jobs = jobs
        self._queue = queue
        self._attendance = attendance
        self._herald = herald
        self._time = TimeKeeper(jobs, queue)
        self._steered_at = 0.0

    async def steer_all(self, now: float) -> None:
        """Steer what something has happened to, and everything at each tick."""
        touched, self._jobs.touched = self._jobs.touched, set()
        if now - self._steered_at >= TICK:
            self._steered_at = now
            touched = set(self._jobs.runs)
        for id in touched:
            if run := self._jobs.runs.get(id):
                await self._steer(run, now)

    async def _steer(self, run: JobRun, now: float) -> None:
        """Bring the job's state to where its owner and its records want it."""
        await self._obey_kill(run)
        await self._obey_targets(run)
        job = run.job
        if (
            job.desired != "cancel"
            and not run.fold.finished
            and (words := run.alarm.look(now, job.started_at))
        ):
            await self._jobs.change(run, desired="cancel", ended_by="threshold", reason=words)
            await self._jobs.store.announce(job.id, "cancel")
        await self._time.keep(run, now)
        waiting_for = self._waiting_for(run)
        begun = bool(run.in_flight or run.fold.done.count)
        # A load that goes by the clock starts it when somebody is there to run its sessions.
        starts = not run.schedule.timed or (self._is_served(run, now) and self._jobs.cleared(run.job))
        if run.schedule.timed:
            begun |= run.job.desired == "run" and starts
        state = job_machine.next_state(run.job, dispatched_any=begun, all_ended=run.fold.finished)
        if state == "finished":
            await self._finish(run, now)
            return
        started = run.job.started_at or (now if state == "running" and starts else None)
        news = (state, waiting_for, started)
        if news != (run.job.state, run.job.waiting_for, run.job.started_at):
            await self._jobs.change(run, state=state, waiting_for=waiting_for, started_at=started)
            log.info(
                "job %s is %s%s", run.id, state, f", waiting for {', '.join(waiting_for)}" * bool(waiting_for)
            )
        if run.job.desired == "pause":
            await self._time.pause(run, now)
        elif run.job.desired == "cancel":
            await self._cancel(run, now)
        else:
            await self._time.fall_back(run, self._attendance.lanes, now)

    async def _obey_kill(self, run: JobRun) -> None:
        """A killed job is cancelled, whatever its owner wanted of it; its runners are told once more."""
        kill = self._jobs.kill_of(run.job)
        if kill is None or run.job.ended_by == "kill":
            return
        await self._jobs.change(run, desired="cancel", ended_by="kill", reason=kill.words)
        await self._jobs.store.announce(run.id, "kill", kill.words, kill)

    async def _obey_targets(self, run: JobRun) -> None:
        """A job that may not go where it goes (any more) is cancelled, with the reason."""
        watch, job = self._jobs.watch, run.job
        if watch is None or job.desired == "cancel" or not (words := watch.refusal(job)):
            return
        await self._jobs.change(run, desired="cancel", ended_by="targets", reason=words)
        await self._jobs.store.announce(run.id, "cancel", words)

    def _waiting_for(self, run: JobRun) -> list[str]:
        if run.job.desired != "run":
            return []
        served = self._attendance.lanes.served
        return sorted(shown(lane) for lane in run.lanes if not any(map(served, run.chains[lane])))

    def _is_served(self, run: JobRun, now: float) -> bool:
        return any(self._attendance.lanes.route(chain, now) for chain in run.chains.values())

    async def _cancel(self, run: JobRun, now: float) -> None:
        """Write off what never began at once, and what runners do not report in time after the grace."""
        if run.cancel_since is None:
            run.cancel_since = now
            await self._time.leave(run, run.take_waiting())
            for flight in list(run.in_flight.values()):
                if flight.seq and not flight.held_at:
                    await self._queue.withdraw(flight.seq)
            return
        await self._time.end_running(run, now)

    async def _finish(self, run: JobRun, now: float) -> None:
        """Every session has its record: judge, and write the end down."""
        judgement = verdict.judge(
            run.thresholds,
            run.fold,
            cancelled=run.job.desired == "cancel",
            reason=run.job.reason,
            ended_by=run.job.ended_by,
        )
        run.job = job_machine.move(
            run.job,
            "finished",
            verdict=judgement.verdict,
            reason=judgement.reason or _ended_early(run, now),
            ended_at=now,
            waiting_for=[],
            counts=counts(run.fold),
        )
        # The checkpoint first: a finished job must never lack its last one. It says so once the document
        # does, since until then a user's order can still change the verdict.
        await self._herald.save(run, now)
        try:
            run.revision = await self._jobs.store.write(run.job, run.revision)
        except Conflict:
            # A user's order came in between: it is too late for it, but the verdict must see it.
            run.job, run.revision = await self._jobs.store.read(run.id)
            run.dirty = True
            return
        await self._herald.publish(run, now)
        await self._herald.save(run, now)
        log.info("job %s is finished: %s %s", run.id, run.job.verdict, run.job.reason)
        del self._jobs.runs[run.id]
        self._jobs.ceilings.forget(run.id)
        self._jobs.finished.add(run.id)
        await self._queue.withdraw_all(f.seq for f in run.in_flight.values() if f.seq)


def _ended_early(run: JobRun, now: float) -> str:
    """A load that ran out of numbers before its time was over says so."""
    schedule, job = run.schedule, run.job
    if not schedule.open_ended or job.spec.is_bounded or schedule.is_over(now, job.started_at):
        return ""
    return f"ended before its time: all {run.plan.size} sessions that a job of this load may have were run"
