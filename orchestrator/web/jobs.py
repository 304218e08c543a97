"""`/jobs`: submit, look, order."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request

from broker_config.api import AuditFinding, AuditView, JobDetail, JobPage, JobView
from broker_config.errors import Problem
from broker_config.job import Cell, Job, Timeline
from broker_config.job_spec import JobSpec, SpecSource, json_schema, read_spec
from broker_config.messages import JobState
from orchestrator.core.report.data import thresholds
from orchestrator.core.standing import standing

from .cursor import seal, unseal
from .problems import RequestRefused
from .typed_route import Reply, TypedRoute
from .web_state import fan_out, web

MAX_SPEC = 8 << 20
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")
_LIST = "jobs"


class SubmitQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    source: SpecSource = "api"


class JobsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    state: JobState | None = None


async def submit_job(request: Request, *, query: SubmitQuery, body: JobSpec) -> Reply[JobView]:
    """Submit a job.

    With an `Idempotency-Key` that was seen before, the earlier job is answered (200), or 409 if its spec was
    another one: so a submit may be repeated after a broken connection.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        wrong = Problem("Idempotency-Key", "is not allowed; use 1 to 128 printable ASCII characters")
        raise RequestRefused(422, str(wrong), [wrong])
    job, made = await web(request).jobs.submit(body, source=query.source, idempotency_key=key)
    return Reply(await _view(request, job, new=made), 201 if made else 200)


async def list_jobs(request: Request, *, query: JobsQuery) -> JobPage:
    """Jobs, newest first."""
    cursor = unseal(_LIST, query.cursor)
    page = await web(request).jobs.page(cursor=cursor, limit=query.limit, state=query.state)
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


async def retry_job(request: Request, *, query: SubmitQuery, id: str) -> Reply[JobView]:
    """Run the failed and lost sessions of a finished job again, as a new job that refers to it."""
    job = await web(request).retry.retry(id, source=query.source)
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


async def job_schema(request: Request) -> dict[str, Any]:
    """The JSON Schema of a job spec."""
    return json_schema()


async def _view(request: Request, job: Job, *, new: bool = False) -> JobView:
    live = fan_out(request).latest(job.id)
    if live is not None or new:
        return JobView(job=job, progress=standing(job, live))
    checkpoint = await web(request).jobs.checkpoint(job.id)
    return JobView(job=job, progress=standing(job, checkpoint.progress if checkpoint else None))


_BROKER = (502, 503)
ROUTES = [
    TypedRoute(
        "POST",
        "/jobs",
        submit_job,
        tag="jobs",
        statuses={201: "Taken on.", 200: "The key was seen before with this spec: the job of then."},
        problems=(409, 507, *_BROKER),
        headers={"Idempotency-Key": "Makes a repeated submit harmless: 1 to 128 printable ASCII characters."},
        read=read_spec,
        max_body=MAX_SPEC,
    ),
    TypedRoute("GET", "/jobs", list_jobs, tag="jobs", problems=_BROKER),
    TypedRoute("GET", "/jobs/{id}", get_job, tag="jobs", problems=(404, *_BROKER)),
    TypedRoute("GET", "/jobs/{id}/detail", get_job_detail, tag="jobs", problems=(404, *_BROKER)),
    TypedRoute("POST", "/jobs/{id}/cancel", cancel_job, tag="jobs", problems=(404, 409, *_BROKER)),
    TypedRoute("POST", "/jobs/{id}/pause", pause_job, tag="jobs", problems=(404, 409, *_BROKER)),
    TypedRoute("POST", "/jobs/{id}/resume", resume_job, tag="jobs", problems=(404, 409, *_BROKER)),
    TypedRoute(
        "POST",
        "/jobs/{id}/retry",
        retry_job,
        tag="jobs",
        statuses={201: "Taken on."},
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute("GET", "/jobs/{id}/audit", audit_job, tag="jobs", problems=(404, *_BROKER)),
    TypedRoute("GET", "/job-schema", job_schema, tag="jobs"),
]
