"""`/jobs`: submit, look, order."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request

from broker_config.api import AuditFinding, AuditView, JobDetail, JobPage, JobView
from broker_config.errors import Problem, ProjectNotFound
from broker_config.job import Cell, Job, Timeline
from broker_config.job_spec import JobSpec, SpecSource, json_schema, read_spec
from broker_config.messages import JobState
from broker_config.people import DEFAULT_PROJECT, Name
from orchestrator.core.access import PUBLIC, Access, Principal, role_in
from orchestrator.core.report.data import thresholds
from orchestrator.core.standing import standing

from .access_check import Owned
from .audit_trail import about
from .authentication import principal
from .cursor import seal, unseal
from .job_projects import of_job
from .problems import RequestRefused
from .typed_route import Handler, Reply, TypedRoute
from .web_state import fan_out, web

MAX_SPEC = 8 << 20
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIST = "jobs"


class SubmitQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    source: SpecSource = "api"
    project: Name = DEFAULT_PROJECT


class RetryQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    source: SpecSource = "api"


class JobsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    state: JobState | None = None
    #: Only of this project.
    project: Name | None = None


async def submit_job(request: Request, *, query: SubmitQuery, body: JobSpec) -> Reply[JobView]:
    """Submit a job, to a project.

    With an `Idempotency-Key` that was seen before, the earlier job is answered (200), or 409 if its spec was
    another one: so a submit may be repeated after a broken connection.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        wrong = Problem("Idempotency-Key", "is not allowed; use 1 to 128 printable ASCII characters")
        raise RequestRefused(422, str(wrong), [wrong])
    job, made = await web(request).jobs.submit(
        body,
        source=query.source,
        idempotency_key=key,
        project=query.project,
        submitted_by=principal(request).name,
    )
    about(request, object=job.id, project=job.project, detail="" if made else "it was there already")
    return Reply(await _view(request, job, new=made), 201 if made else 200)


async def list_jobs(request: Request, *, query: JobsQuery) -> JobPage:
    """Jobs of one's projects, newest first."""
    cursor = unseal(_LIST, query.cursor)
    page = await web(request).jobs.page(
        cursor=cursor,
        limit=query.limit,
        state=query.state,
        projects=_projects(principal(request), query.project),
    )
    return msgspec.structs.replace(page, next=seal(_LIST, page.next))


async def get_job(request: Request, *, id: str) -> JobView:
    """A job and its newest progress."""
    return await _view(request, await web(request).jobs.get(id))


async def get_job_detail(request: Request, *, id: str) -> JobDetail:
    """All groups of a job and its timeline, about a second old."""
    job = await web(request).jobs.get(id)
    checkpoint = await web(request).jobs.checkpoint(id)
    if checkpoint is None:
        total = Cell(planned=job.spec.planned_sessions)
        return JobDetail(job=id, seq=0, total=total, targets={}, platforms={}, timeline=Timeline(), errors={})
    return JobDetail(
        job=id,
        seq=checkpoint.progress_seq,
        total=checkpoint.total,
        targets=checkpoint.targets,
        platforms=checkpoint.platforms,
        timeline=checkpoint.timeline,
        errors=checkpoint.errors,
        calm=checkpoint.calm,
        steps=checkpoint.steps,
        got=checkpoint.got,
        thresholds=thresholds(job, checkpoint),
        examples=checkpoint.examples,
        upstreams=checkpoint.upstreams,
    )


async def cancel_job(request: Request, *, id: str) -> JobView:
    """Cancel a job, running sessions included. Repeating it changes nothing."""
    return await _view(request, await web(request).jobs.command(id, "cancel"))


async def pause_job(request: Request, *, id: str) -> JobView:
    """Start no more sessions of a job; running ones end as they would."""
    return await _view(request, await web(request).jobs.command(id, "pause"))


async def resume_job(request: Request, *, id: str) -> JobView:
    """Go on with a paused job."""
    return await _view(request, await web(request).jobs.command(id, "resume"))


async def retry_job(request: Request, *, query: RetryQuery, id: str) -> Reply[JobView]:
    """Run the failed and lost sessions of a finished job again, as a new job that refers to it.

    It is of the same project.
    """
    job = await web(request).retry.retry(id, source=query.source, submitted_by=principal(request).name)
    about(request, object=id, detail=f"as job {job.id}")
    return Reply(await _view(request, job, new=True), 201)


async def audit_job(request: Request, *, id: str) -> AuditView:
    """Derive the job's totals anew from the stream of records, and say where what is told of it differs."""
    report = await web(request).audits.audit(id)
    return AuditView(
        job=report.job,
        agrees=report.agrees,
        records=report.records,
        counts=report.counts,
        found={str(kind): n for kind, n in report.found.items()},
        findings=[
            AuditFinding(kind=f.kind, text=f.text, session=f.session, seq=f.seq, fault=f.is_fault)
            for f in report.findings
        ],
    )


#: Anybody may ask for it, and making it takes long.
_schema = cache(json_schema)


async def job_schema(request: Request) -> dict[str, Any]:
    """The JSON Schema of a job spec."""
    return _schema()


def _projects(who: Principal, named: str | None) -> list[str] | None:
    """Those whose jobs are listed; None is all."""
    if named is not None:
        return [named] if role_in(who, named) is not None else []
    return None if who.all_projects else list(who.projects)


async def of_named_project(request: Request) -> Owned:
    """Of the project that the query names."""
    name = request.query_params.get("project", DEFAULT_PROJECT)[:100]
    missing = ProjectNotFound.of(name)
    if not _NAME.fullmatch(name):
        raise missing
    await web(request).projects.get(name)
    return Owned(name, missing)


async def _view(request: Request, job: Job, *, new: bool = False) -> JobView:
    live = fan_out(request).latest(job.id)
    if live is not None or new:
        return JobView(job=job, progress=standing(job, live))
    checkpoint = await web(request).jobs.checkpoint(job.id)
    return JobView(job=job, progress=standing(job, checkpoint.progress if checkpoint else None))


_BROKER = (502, 503)
_SEE = Access(scope="project", role="viewer")
_RUN = Access(scope="project", role="operator")


def _command(path: str, handler: Handler, audits: str) -> TypedRoute:
    problems = (404, 409, *_BROKER)
    return TypedRoute(
        "POST", path, handler, tag="jobs", access=_RUN, audits=audits, of=of_job, problems=problems
    )


def _of_one(path: str, handler: Handler) -> TypedRoute:
    return TypedRoute("GET", path, handler, tag="jobs", access=_SEE, of=of_job, problems=(404, *_BROKER))


ROUTES = [
    TypedRoute(
        "POST",
        "/jobs",
        submit_job,
        tag="jobs",
        access=_RUN,
        audits="job.submit",
        of=of_named_project,
        rate="submit",
        statuses={201: "Taken on.", 200: "The key was seen before with this spec: the job of then."},
        problems=(404, 409, 507, *_BROKER),
        headers={"Idempotency-Key": "Makes a repeated submit harmless: 1 to 128 printable ASCII characters."},
        read=read_spec,
        max_body=MAX_SPEC,
    ),
    TypedRoute("GET", "/jobs", list_jobs, tag="jobs", access=_SEE, problems=_BROKER),
    _of_one("/jobs/{id}", get_job),
    _of_one("/jobs/{id}/detail", get_job_detail),
    _command("/jobs/{id}/cancel", cancel_job, "job.cancel"),
    _command("/jobs/{id}/pause", pause_job, "job.pause"),
    _command("/jobs/{id}/resume", resume_job, "job.resume"),
    TypedRoute(
        "POST",
        "/jobs/{id}/retry",
        retry_job,
        tag="jobs",
        access=_RUN,
        audits="job.retry",
        of=of_job,
        rate="submit",
        statuses={201: "Taken on."},
        problems=(404, 409, 507, *_BROKER),
    ),
    _of_one("/jobs/{id}/audit", audit_job),
    TypedRoute("GET", "/job-schema", job_schema, tag="jobs", access=PUBLIC),
]
