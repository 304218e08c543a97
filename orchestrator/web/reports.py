"""`/jobs/<id>/report`: a job as a page for people, as data, or as CI systems and spreadsheets read it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from broker_config.api import ReportFormat, SessionRow
from broker_config.report import Report
from orchestrator.core.access import Access
from orchestrator.core.report import lines
from orchestrator.core.report.by_group import ByGroup
from orchestrator.core.report.data import make_report
from orchestrator.core.report.junit import junit
from orchestrator.core.report.page import page, style

from .job_projects import of_job
from .security_headers import page_policy
from .typed_route import TypedRoute
from .web_state import web


class ReportQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: ReportFormat = "html"


async def get_report(request: Request, *, id: str, query: ReportQuery) -> Report | Response:
    """The report of a job, of one that runs too.

    As a page (`html`, self-contained), as data (`json`), as JUnit XML (`junit`), or a line for each session
    that has ended (`csv`).
    """
    state = web(request)
    job = await state.jobs.get(id)
    if query.format == "csv":
        return await _csv(job.id, state.sessions.counted(job.id))
    # After the document: of a job that is finished it is the last one.
    checkpoint = await state.jobs.checkpoint(id)
    report = make_report(job, checkpoint, made_at=time.time(), version=state.version)
    match query.format:
        case "html":
            headers = {"Content-Security-Policy": page_policy(style())}
            return HTMLResponse(await asyncio.to_thread(page, report), headers=headers)
        case "junit":
            groups = ByGroup()
            async for rows in state.sessions.counted(id):
                groups.take(rows)
            return Response(junit(report, groups.groups()), media_type="application/xml")
        case "json":
            return report


async def _csv(job: str, pages: AsyncIterator[list[SessionRow]]) -> Response:
    # The first page before the status: an error has an answer of its own then.
    first: list[SessionRow] = await anext(pages, [])

    async def text() -> AsyncIterator[bytes]:
        async with aclosing(cast("AsyncGenerator[list[SessionRow], None]", pages)):
            yield lines.header()
            yield lines.lines(first)
            async for rows in pages:
                yield lines.lines(rows)

    headers = {"Content-Disposition": f'attachment; filename="{job}.csv"'}
    return StreamingResponse(text(), media_type="text/csv; charset=utf-8", headers=headers)


ROUTES = [
    TypedRoute(
        "GET",
        "/jobs/{id}/report",
        get_report,
        tag="jobs",
        access=Access(scope="project"),
        of=of_job,
        problems=(404, 502, 503),
        media=("text/html", "application/xml", "text/csv"),
    ),
]
