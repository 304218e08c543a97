"""`/audit`: who did what. For admins of the fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker_config.api import AuditEntryPage, AuditTail, ChainReport
from broker_config.messages import AuditResult
from orchestrator.core.access import Access
from orchestrator.core.audit_filter import AuditFilter

from .cursor import seal, unseal
from .typed_route import TypedRoute
from .web_state import web

ADMIN = Access(scope="fleet", role="admin")
_LIST = "audit"
#: An answer is waited for so long at most, s: below the time-outs of most clients and proxies.
MAX_WAIT = 25.0

Text = Annotated[str, Meta(max_length=200)]


class _Filters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    actor: Text = ""
    action: Text = ""
    result: AuditResult | None = None
    object: Text = ""
    project: Text = ""
    since: Annotated[float, Meta(ge=0)] = 0.0

    def only(self) -> AuditFilter:
        return AuditFilter(
            actor=self.actor,
            action=self.action,
            result=self.result or "",
            object=self.object,
            project=self.project,
            since=self.since,
        )


class AuditQuery(_Filters, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class AuditTailQuery(_Filters, kw_only=True, forbid_unknown_fields=True):
    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 0.0


class VerifyQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    head: Annotated[str, Meta(pattern="^([0-9a-fA-F]{64})?$")] = ""


async def list_audit(request: Request, *, query: AuditQuery) -> AuditEntryPage:
    """Entries of the audit log, newest first.

    `action` takes in those below it: `job` is `job.submit`, `job.cancel` and so on. `since` is in seconds
    since 1970.
    """
    cursor = unseal(_LIST, query.cursor)
    before = int(cursor) if cursor is not None else None
    page = await web(request).audit_log.page(before=before, limit=query.limit, only=query.only())
    return msgspec.structs.replace(page, next=seal(_LIST, page.next))


async def tail_audit(request: Request, *, query: AuditTailQuery) -> AuditTail:
    """Entries after a number, oldest first; where there are none, wait for one.

    Without `after` it begins at the newest. To follow, ask again with `after` as the answer's `last`.
    """
    return await web(request).audit_log.tail(
        after=query.after, limit=query.limit, only=query.only(), wait=query.wait
    )


async def verify_audit(request: Request, *, query: VerifyQuery) -> ChainReport:
    """Read the whole log and check its chain.

    `head` is the hash of an entry that was noted elsewhere: it must be in the log. Without one nobody can see
    that the end was cut off.
    """
    return await web(request).audit_log.verify(query.head)


async def export_audit(request: Request) -> ChainReport | Response:
    """All entries as they are stored, one a line (`application/x-ndjson`), oldest first."""
    pages = web(request).audit_log.export()
    # The first before the status: an error has an answer of its own then.
    first = await anext(pages, b"")

    async def lines() -> AsyncIterator[bytes]:
        yield first
        async for page in pages:
            yield page

    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)


_BROKER = (502, 503)
ROUTES = [
    TypedRoute("GET", "/audit", list_audit, tag="audit", access=ADMIN, problems=_BROKER),
    TypedRoute("GET", "/audit/tail", tail_audit, tag="audit", access=ADMIN, problems=_BROKER),
    TypedRoute("GET", "/audit/verify", verify_audit, tag="audit", access=ADMIN, problems=_BROKER),
    TypedRoute(
        "GET",
        "/audit/export",
        export_audit,
        tag="audit",
        access=ADMIN,
        problems=_BROKER,
        media=("application/x-ndjson",),
    ),
]
