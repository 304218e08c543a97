"""What requests leave in the audit log: an entry for each that changes something or is refused.

`TypedRoute` sees to it for all routes. A handler may say more of what it did with `about`; what has no route
calls `note`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from broker_config.errors import TrafficBusterError
from broker_config.messages import AuditResult
from orchestrator.core.access import ANONYMOUS, Principal
from orchestrator.core.audit_note import AuditNote

from .authentication import Caller, address
from .problems import status_of
from .web_state import web

#: Answers wait so long for their entry to be in the stream, s; it is written after that, too.
_WAIT = 1.0
#: Statuses that say that the request was not allowed, or too often. A 404 is one where `about` says so.
_REFUSED = frozenset({401, 403, 429})
_ABOUT = "audit_about"


def about(request: HTTPConnection, **fields: Any) -> None:
    """Say more of what this request does: `object`, `project`, `detail`, `actor`, `kind`, or `result` (such
    as `refused` for a 404 that hides what is there). Without it the object is what stands in the path.

    `actor` is for requests that only tell who it is when they are answered, such as a login."""
    request.scope.setdefault(_ABOUT, {}).update(fields)


def note(
    connection: HTTPConnection, action: str, result: AuditResult = "ok", **fields: Any
) -> Awaitable[object]:
    """Note what has no route of its own: `object`, `project`, `detail` as in `AuditNote`. Who it is and from
    where is added. It need not be awaited."""
    who = principal_of(connection)
    found: dict[str, Any] = {
        "actor": who.name,
        "kind": who.kind,
        "credential": who.credential,
        "address": address(connection),
        **fields,
    }
    return web(connection).audit_log.note(AuditNote(action=action, result=result, **found))


def principal_of(connection: HTTPConnection) -> Principal:
    """Who it is, as far as that was found out."""
    found: Caller | None = getattr(connection.state, "caller", None)
    return ANONYMOUS if found is None else found.principal


async def audited(request: Request, action: str, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do the work, and note what has become of it. Without an `action` only a refusal is noted.

    Raises what the work raises; before it, `BrokerUnavailable` or `StreamFull` where a change could not be
    noted: it is not done then."""
    if action:
        web(request).audit_log.check_room()
    try:
        response = await work()
    except asyncio.CancelledError:
        if action:
            # It goes on being written while the request is gone.
            _note(request, action, "failed", "broken off; it may have been done")
        raise
    except Exception as e:
        status, words = _told(e)
        await _noted(request, action, status, words)
        raise
    await _noted(request, action, response.status_code, "")
    return response


async def _noted(request: Request, action: str, status: int, words: str) -> None:
    given: str = request.scope.get(_ABOUT, {}).get("result", "")
    refused = given == "refused" or (status in _REFUSED and not given)
    if not action and not refused:
        return
    result: AuditResult = "refused" if refused else "failed" if status >= 400 or given == "failed" else "ok"
    written = _note(request, action or "read", result, words)
    await asyncio.wait([asyncio.ensure_future(written)], timeout=_WAIT)


def _note(request: Request, action: str, result: AuditResult, words: str) -> Awaitable[object]:
    said = dict(request.scope.get(_ABOUT, {}))
    said.pop("result", None)
    if words and not said.get("detail"):
        said["detail"] = words
    if not said.get("object"):
        path = "/".join(str(v) for v in request.path_params.values())
        said["object"] = request.url.path if action == "read" else path
    return note(request, action, result, **said)


def _told(e: Exception) -> tuple[int, str]:
    if isinstance(e, HTTPException):
        return e.status_code, e.detail
    if isinstance(e, TrafficBusterError):
        return status_of(e), str(e)
    return 500, "the orchestrator failed on it; its log says why"
