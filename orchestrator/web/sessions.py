"""`/jobs/<id>/sessions`: the terminal records of a job."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from broker_config.api import SessionPage
from broker_config.messages import SessionStatus
from orchestrator.core.access import Access

from .cursor import seal, unseal
from .job_projects import of_job
from .typed_route import TypedRoute
from .web_state import web


class SessionsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    status: SessionStatus | None = None


async def list_sessions(request: Request, *, id: str, query: SessionsQuery) -> SessionPage:
    """Sessions of a job in the order in which they ended."""
    state = web(request)
    scope = f"sessions of {id}"
    cursor = unseal(scope, query.cursor)
    job = await state.jobs.get(id)
    page = await state.sessions.page(job.id, cursor=cursor, limit=query.limit, status=query.status)
    return msgspec.structs.replace(page, next=seal(scope, page.next))


ROUTES = [
    TypedRoute(
        "GET",
        "/jobs/{id}/sessions",
        list_sessions,
        tag="sessions",
        access=Access(scope="project"),
        of=of_job,
        problems=(404, 502, 503),
    ),
]
