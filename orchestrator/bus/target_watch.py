"""While jobs are conducted: may each still use its origins? Asked before its first session, and again and
again after; what cannot be found out twice ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import nats.errors

from broker_config.errors import TrafficBusterError
from broker_config.job import Job
from broker_config.origin import Origin
from orchestrator.core.target_rules import RECHECK, RETRY

from .target_guard import Recheck, TargetGuard

log = logging.getLogger(__name__)

#: How often it is looked whether something is due, s.
_LOOK = 0.5


class Times(NamedTuple):
    """Seconds: `every` so often it is asked again, and `retry` after a try that came to nothing."""

    every: float = RECHECK
    retry: float = RETRY

    @property
    def life(self) -> float:
        """For how long an answer holds at most: until the next one, however often that is tried."""
        return self.every + 2 * self.retry


class _Clearance:
    """Of one job, with those of its origins that need a target. `until` is when the last good answer ends;
    `due` when it is asked again."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        self.origins = origins
        self.until = 0.0
        self.due = 0.0
        #: Tries in a row that came to nothing.
        self.tries = 0
        self.refusal = ""
        self.version = -1
        self.asking: asyncio.Task[None] | None = None


class TargetWatch:
    """Of one conductor's term. `jobs` gives those that are conducted; `clock` seconds since 1970. Called with
    a job: `changed` when something new is known of it, `renew` when it may go on for another while."""

    def __init__(
        self,
        guard: TargetGuard,
        jobs: Callable[[], list[Job]],
        *,
        clock: Callable[[], float],
        changed: Callable[[str], None],
        renew: Callable[[str], Awaitable[None]],
        times: Times,
    ) -> None:
        self._guard = guard
        self._jobs = jobs
        self._clock = clock
        self._changed = changed
        self._renew = renew
        self._times = times
        self._known: dict[str, _Clearance] = {}

    def cleared(self, job: Job) -> bool:
        """Whether sessions of the job may be sent now."""
        known = self._known.get(job.id)
        if known is None:
            known = self._take_on(job)
        return not known.refusal and self._clock() < known.until

    def refusal(self, job: Job) -> str:
        """Why the job has to end, in words; empty where it has not."""
        known = self._known.get(job.id)
        return known.refusal if known is not None else ""

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._look(group)
                await asyncio.sleep(min(_LOOK, self._times.retry, self._times.every))

    def _take_on(self, job: Job) -> _Clearance:
        known = self._known[job.id] = _Clearance(self._guard.bound(job.spec))
        if not known.origins:
            # Nobody has to be asked: it may begin at once.
            self._good(known)
        return known

    def _look(self, group: asyncio.TaskGroup) -> None:
        now = self._clock()
        jobs = {job.id: job for job in self._jobs()}
        for id in self._known.keys() - jobs.keys():
            gone = self._known.pop(id)
            if gone.asking is not None:
                gone.asking.cancel()
        for id, job in jobs.items():
            known = self._known.get(id) or self._take_on(job)
            if known.refusal or known.asking is not None:
                continue
            if known.version != self._guard.store.version:
                # What was changed or taken away is seen at once.
                known.version = self._guard.store.version
                problem = self._guard.standing(job.project, known.origins)
                # Where it was not asked yet, what was heard may be behind.
                if problem and known.until:
                    self._refuse(job, known, problem)
                    continue
            if now >= known.due:
                known.asking = group.create_task(self._ask(job, known), name=f"targets of {id}")

    async def _ask(self, job: Job, known: _Clearance) -> None:
        try:
            answer = await self._guard.recheck(job.project, known.origins)
        except TrafficBusterError as e:
            answer = Recheck(f"its targets cannot be checked: {e}", passing=True)
        finally:
            known.asking = None
        if not answer.problem:
            again = bool(known.until)
            self._good(known)
            if again:
                await self._tell_on(job)
        elif answer.passing and not known.tries:
            known.tries = 1
            known.due = self._clock() + self._times.retry
            log.warning("job %s: %s; asked again in %.0f s", job.id, answer.problem, self._times.retry)
        else:
            self._refuse(job, known, answer.problem)
        self._changed(job.id)

    async def _tell_on(self, job: Job) -> None:
        try:
            await self._renew(job.id)
        except (TrafficBusterError, nats.errors.Error) as e:
            log.warning("grants of job %s are not renewed: %s", job.id, e)

    def _good(self, known: _Clearance) -> None:
        now = self._clock()
        known.tries = 0
        known.until = now + self._times.life
        known.due = now + self._times.every

    def _refuse(self, job: Job, known: _Clearance, problem: str) -> None:
        known.refusal = problem
        log.warning("job %s is ended: %s", job.id, problem)
        self._changed(job.id)
