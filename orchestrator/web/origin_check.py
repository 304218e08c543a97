"""Pages of others: neither may they have the user's browser act here, nor read by a name that they own.

The header `Host` must be a name that is served, so that a foreign name which leads to this address (DNS
rebinding) opens nothing. What changes something must come from an own page, where a browser sends it.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.core.served_names import ServedNames

from .audit_trail import note
from .problems import problem_response

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class OriginCheck:
    """Middleware; before authentication, which it does not need."""

    def __init__(self, app: ASGIApp, names: ServedNames) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._names.serves(hosts[0]):
            shown = ", ".join(hosts)[:100]
            words = (
                f"{shown!r} is not a name of this server; use its address, or have the operator name it by "
                "--public-origin"
            )
            await problem_response(421, words)(scope, receive, send)
            return
        if wrong := self._wrong(scope, headers):
            note(HTTPConnection(scope), "request", "refused", object=scope["path"], detail=wrong)
            await problem_response(403, wrong)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _wrong(self, scope: Scope, headers: Headers) -> str:
        """Why this is refused; empty if it is not."""
        origin = headers.get("origin")
        own = origin is not None and self._names.is_own(
            origin, "https" if scope["scheme"] in ("https", "wss") else "http", headers["host"]
        )
        if scope["type"] == "websocket":
            # Only browsers send it, and all of them do.
            return "" if origin is None or own else _foreign(origin)
        if scope["method"] in _SAFE or "authorization" in headers:
            # A page cannot add the header without asking first, which is answered by nobody.
            return ""
        if (site := headers.get("sec-fetch-site")) is not None:
            return "" if site == "same-origin" else f"this comes from another site ({site[:40]})"
        if origin is not None:
            return "" if own else _foreign(origin)
        if "cookie" in headers:
            return (
                "a change with a cookie must say where it comes from (Sec-Fetch-Site or Origin); programs "
                "use a token: `Authorization: Bearer …`"
            )
        return ""


def _foreign(origin: str) -> str:
    return (
        f"the origin {origin[:100]!r} is not this server's own; the operator can name it by --public-origin"
    )
