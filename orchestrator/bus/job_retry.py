"""`tb jobs retry`: the failed and lost sessions of a finished job as a new job that refers to it."""

from __future__ import annotations

from collections import Counter

import msgspec

from broker_config.errors import IllegalTransition
from broker_config.job import Job
from broker_config.job_spec import JobSpec
from broker_config.messages import SessionStatus
from orchestrator.core.plan import Plan

from .job_store import JobStore
from .session_log import SessionLog

_AGAIN: frozenset[SessionStatus] = frozenset({"failed", "lost"})
_PAGE = 1_000


class JobRetry:
    def __init__(self, store: JobStore, sessions: SessionLog) -> None:
        self._store = store
        self._sessions = sessions

    async def retry(self, job: str, *, source: str = "api", submitted_by: str = "") -> Job:
        """Submit the new job. Raises `JobNotFound`; `IllegalTransition` if the job is not finished, or if
        nothing in it failed; and what a submit raises."""
        document = await self._store.get(job)
        if document.state != "finished":
            raise IllegalTransition(f"job {job} is {document.state}; it can be retried when it is finished")
        failed = await self._failed(job)
        if not failed:
            raise IllegalTransition(f"no session of job {job} failed or was lost; there is nothing to retry")
        spec = retry_spec(document, failed)
        made, _ = await self._store.submit(
            spec,
            source=source,
            idempotency_key=None,
            retry_of=job,
            project=document.project,
            submitted_by=submitted_by,
        )
        return made

    async def _failed(self, job: str) -> list[int]:
        cursor: str | None = None
        failed = []
        while True:
            page = await self._sessions.page(job, cursor=cursor, limit=_PAGE, status=None)
            failed += [r.session for r in page.items if r.counted and r.status in _AGAIN]
            cursor = page.next
            if cursor is None:
                return failed


def retry_spec(job: Job, sessions: list[int]) -> JobSpec:
    """The job's spec for just these sessions: as many of each target and of each platform as they had.

    Which target meets which platform is planned anew.
    """
    plan = Plan(job.id, job.spec)
    targets = Counter(plan.target(s) for s in sessions)
    platforms = Counter(plan.platform(s) for s in sessions)
    return msgspec.structs.replace(
        job.spec,
        targets=[
            msgspec.structs.replace(t, sessions=targets[i])
            for i, t in enumerate(job.spec.targets)
            if targets[i]
        ],
        sessions=None,
        platforms={p: float(n) for p, n in platforms.items()},
        fallback={p: others for p, others in job.spec.fallback.items() if p in platforms},
        # Thresholds of groups that the new job does not have cannot be measured.
        thresholds=[t for t in job.spec.expressions if "{" not in t],
        seed=None,
    )
