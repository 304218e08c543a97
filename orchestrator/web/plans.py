"""`/jobs/plan`: what a job would run, without running it."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request

from broker_config.job_plan import JobPlan
from broker_config.job_spec import JobSpec, read_spec
from broker_config.people import DEFAULT_PROJECT, Name
from orchestrator.core.access import Access
from orchestrator.core.preview import preview

from .jobs import MAX_SPEC, of_named_project
from .typed_route import TypedRoute
from .web_state import web


class PlanQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    project: Name = DEFAULT_PROJECT


async def plan_job(request: Request, *, query: PlanQuery, body: JobSpec) -> JobPlan:
    """Show what a job would run. It is checked as for a submit, but not stored; no target is asked."""
    await web(request).jobs.check(body, query.project)
    online = [r for r in web(request).fleet.runners() if r.state == "online"]
    return await asyncio.to_thread(preview, body, online)


ROUTES = [
    TypedRoute(
        "POST",
        "/jobs/plan",
        plan_job,
        tag="jobs",
        statuses={200: "What would run."},
        access=Access(scope="project", role="operator"),
        audits="job.plan",
        of=of_named_project,
        problems=(404, 502, 503, 507),
        read=read_spec,
        max_body=MAX_SPEC,
    ),
]
