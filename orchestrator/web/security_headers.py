"""Headers that keep browsers from guessing, framing, telling, and running what is not ours."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker_config.api import API_PREFIX
from orchestrator.core.content_hash import content_hash
from orchestrator.core.served_names import ServedNames

_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: Half a year. Not for subdomains: they are not ours.
_HSTS = "max-age=15552000"


def page_policy(style: str) -> str:
    """For a page with this style in it, that brings nothing else and runs nothing: what a site has sent and a
    report shows could do nothing even if it were not escaped."""
    return f"default-src 'none'; style-src {content_hash(style)}; img-src data:; {_ALONE}"


_ALONE = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class SecurityHeaders:
    """Middleware. A response may bring a `Content-Security-Policy` of its own; the API's answers are not
    cached."""

    def __init__(self, app: ASGIApp, names: ServedNames) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        secure = self._names.is_secure(scheme, host)

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", _POLICY)
                if secure:
                    headers["Strict-Transport-Security"] = _HSTS
                if scope["path"].startswith(API_PREFIX):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)
