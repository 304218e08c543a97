"""To which project a job belongs: asked with every request, and never changed."""

from __future__ import annotations

from collections import OrderedDict

from starlette.requests import Request

from broker_config.artifacts import ArtifactName
from broker_config.errors import ArtifactNotFound, JobNotFound

from .access_check import Owned
from .ports import Jobs
from .web_state import job_projects

_MOST = 20_000


class JobProjects:
    """Remembers the newest `_MOST`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._known: OrderedDict[str, str] = OrderedDict()

    async def of(self, job: str) -> str:
        """Raises `JobNotFound` and `BrokerError`s."""
        known = self._known.get(job)
        if known is None:
            known = self._known[job] = (await self._jobs.get(job)).project
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return known


async def of_job(request: Request) -> Owned:
    """Of the job `{id}`."""
    job = request.path_params["id"]
    return Owned(await job_projects(request).of(job), JobNotFound.of(job))


async def of_artifact(request: Request) -> Owned:
    """Of the job that left the artifact `{name}`."""
    name = request.path_params["name"]
    try:
        job = ArtifactName.parse(name).job
    except ValueError as e:
        raise ArtifactNotFound(str(e)) from None
    missing = ArtifactNotFound.of(name)
    try:
        return Owned(await job_projects(request).of(job), missing)
    except JobNotFound:
        raise missing from None
