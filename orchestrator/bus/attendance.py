"""Who runs what: sessions that runners hold, slots that are online, cancels that were not heard."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.api import RunnerView
from broker_config.errors import MessageError
from broker_config.messages import JobLog
from broker_config.subjects import JOB_LOGS
from orchestrator.core.fallback import Lanes
from orchestrator.core.job_run import JobRun
from orchestrator.core.roster import Roster
from orchestrator.core.window import lane_of, pools_of, slots_by_lane

from .conducted import Conducted


class Attendance:
    def __init__(self, jobs: Conducted, roster: Roster) -> None:
        self._jobs = jobs
        self._roster = roster
        self._seen = -1
        self._unheard: set[str] = set()
        self.lanes = Lanes(jobs.clock())

    async def hear_starts(self) -> None:
        """Sessions as they start: heartbeats alone would miss the short ones."""

        async def take(msg: Msg) -> None:
            if b'"started"' not in msg.data:
                return
            try:
                said = codec.decode(msg.data, JobLog)
            except MessageError:
                return
            run = self._jobs.runs.get(said.job)
            runner = self._roster.get(said.runner)
            if runner is None or said.event != "started":
                return
            if said.job in self._jobs.finished or (run is not None and run.is_ending):
                self._unheard.add(said.job)
                self._jobs.wake.set()
            if run is None:
                return
            _hold(run, said.session, said.attempt, said.platform, runner, self._jobs.clock())

        sub = await self._jobs.jet.nc.subscribe(JOB_LOGS, cb=take)
        try:
            await asyncio.Event().wait()
        finally:
            await sub.unsubscribe()

    def look(self, now: float) -> None:
        """Take in what heartbeats have brought since the last look."""
        if self._roster.version == self._seen:
            return
        self._seen = self._roster.version
        slots = slots_by_lane(
            ([p.platform for p in r.platforms], pool, r.slots)
            for r in self._roster.online()
            for pool in pools_of(r.pool, scripts=r.scripts)
        )
        self.lanes.look(slots, now)
        for runner in self._roster.all():
            if runner.state in ("lost", "offline"):
                continue
            for s in runner.running:
                run = self._jobs.runs.get(s.job)
                if run is not None:
                    _hold(run, s.session, s.attempt, s.platform, runner, now)
                if s.job in self._jobs.finished or (run is not None and run.is_ending):
                    # It was away when the job was cancelled, or runs what others have ended.
                    self._unheard.add(s.job)

    async def repeat_cancels(self) -> None:
        """Tell runners that still run sessions of a job which is over; heartbeats come once a second."""
        unheard, self._unheard = self._unheard, set()
        for job in unheard:
            run = self._jobs.runs.get(job)
            kill = self._jobs.kill_of(run.job) if run is not None else self._jobs.kills.get(f"job-{job}")
            await self._jobs.store.announce(job, "kill" if kill else "cancel", kill=kill)


def _hold(run: JobRun, session: int, attempt: int, platform: str, runner: RunnerView, now: float) -> None:
    if 1 <= session <= run.plan.size:
        lane = lane_of(platform or run.plan.platform(session), run.job.spec.dispatch_pool)
        run.hold(session, attempt, f"{runner.id}/{runner.instance}", lane, now)
