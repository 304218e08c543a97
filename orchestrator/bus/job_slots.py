"""How many unfinished jobs a project has, where that is bounded: exact, whoever submits at the same time.

The key `open.<project>` of the bucket `jobs` lists them; who adds one takes out those that are finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from broker_config import codec
from broker_config.errors import Conflict, SpecError
from broker_config.job import job_key
from broker_config.messages import JobState
from broker_config.people import DEFAULT_PROJECT, Quotas
from broker_config.streams import JOBS
from broker_config.subjects import token
from orchestrator.core.quota import jobs_problem

from .jet import Jet

STREAM = f"KV_{JOBS.name}"
_ATTEMPTS = 50
#: Seconds after which a job that has its place but was never stored loses it.
_LOST_AFTER = 60.0


class _Open(msgspec.Struct):
    #: By job, when it got its place.
    jobs: dict[str, float] = {}
    #: The bound for which this was counted.
    bound: int = 0


class _Standing(msgspec.Struct):
    """Of a job's document what counts here."""

    id: str
    state: JobState
    project: str = DEFAULT_PROJECT


class JobSlots:
    def __init__(self, jet: Jet, *, clock: Callable[[], float]) -> None:
        self._jet = jet
        self._clock = clock

    async def take(self, project: str, job: str, quotas: Quotas) -> None:
        """A place for a job that is about to be stored; one that has its place keeps it. Raises `SpecError`
        where the project has as many as it may."""
        if quotas.jobs is None:
            return
        at = _subject(f"open.{token(project, 'project')}")
        for _ in range(_ATTEMPTS):
            entry = await self._jet.get(STREAM, at)
            held = codec.decode(entry.value, _Open) if entry is not None and not entry.deleted else _Open()
            if held.bound != quotas.jobs:
                # Counted anew: while there was no bound, nobody kept count.
                held.jobs = await self._all(project)
            if job in held.jobs or await self._standing(job) is not None:
                return  # a submit that was sent again
            jobs = await self._unfinished(held.jobs)
            if problem := jobs_problem(quotas, len(jobs)):
                raise SpecError([problem])
            jobs[job] = self._clock()
            value = codec.encode(_Open(jobs=jobs, bound=quotas.jobs))
            try:
                await self._jet.publish(at, value, expected_last=entry.revision if entry else 0)
            except Conflict:
                continue
            return
        raise Conflict(f"project {project} gets too many jobs at once; try again")

    async def _unfinished(self, jobs: dict[str, float]) -> dict[str, float]:
        found = await asyncio.gather(*(self._standing(job) for job in jobs))
        now = self._clock()
        return {
            job: since
            for (job, since), standing in zip(jobs.items(), found, strict=True)
            if (standing is None and now - since < _LOST_AFTER)
            or (standing is not None and standing.state != "finished")
        }

    async def _standing(self, job: str) -> _Standing | None:
        entry = await self._jet.get(STREAM, _subject(job_key(job)))
        return None if entry is None or entry.deleted else codec.decode(entry.value, _Standing)

    async def _all(self, project: str) -> dict[str, float]:
        """All unfinished jobs of the project, from the bucket itself."""
        out = {}
        for stored in await self._jet.read_all(STREAM, _subject("*")):
            if "KV-Operation" in stored.headers or "Nats-Marker-Reason" in stored.headers:
                continue
            job = codec.decode(stored.data, _Standing)
            if job.project == project and job.state != "finished":
                out[job.id] = stored.at
        return out


def _subject(key: str) -> str:
    return f"$KV.{JOBS.name}.{key}"
