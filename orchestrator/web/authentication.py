"""Who asks: by a bearer's secret, by the cookie of a login, or by a ticket at the handshake of `/ws`.

A request has one credential at most: with a header `Authorization` no cookie is looked at. What comes of it
is a `Caller` in the connection's state; whether it suffices is decided by `access_check`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from broker_config.errors import BrokerError
from orchestrator.core.access import Principal

from .problems import RETRY_AFTER, problem_response
from .web_state import WebState, web

#: What a client offers at the handshake beside its ticket, and is answered.
SUBPROTOCOL = "tb.v1"
_TICKET = "ticket."
#: `__Host-` binds a cookie to this very host, but browsers take it by TLS only.
_SECURE_COOKIE, _PLAIN_COOKIE = "__Host-tb", "tb-login"
_URL_NAMES = frozenset({"token", "access_token", "api_key", "apikey", "authorization", "ticket", "bearer"})
_URL_SECRET = re.compile(r"tb_[0-9a-f]{16}_")


@dataclass(frozen=True, slots=True)
class Caller:
    """`refused` says in words why the credential that came was no good; the principal is nobody then."""

    principal: Principal
    refused: str = ""
    by_cookie: bool = False


def caller(connection: HTTPConnection) -> Caller:
    return cast(Caller, connection.state.caller)


def principal(connection: HTTPConnection) -> Principal:
    """Who asks; `anonymous`, with the rights that settings give to those, if nobody is known."""
    return caller(connection).principal


def address(connection: HTTPConnection) -> str:
    """The address of who asks; empty where it is not known."""
    return connection.client.host if connection.client else ""


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the browser came by TLS."""
    scheme = "https" if connection.scope["scheme"] in ("https", "wss") else "http"
    return web(connection).names.is_secure(scheme, connection.headers.get("host", ""))


def login_cookie(connection: HTTPConnection) -> str | None:
    """The secret in the cookie of a login, if there is one."""
    return connection.cookies.get(_SECURE_COOKIE if is_secure(connection) else _PLAIN_COOKIE)


def set_login_cookie(response: Response, connection: HTTPConnection, secret: str, max_age: int) -> None:
    """Out of reach for scripts, and sent by pages of our own alone."""
    secure = is_secure(connection)
    response.set_cookie(
        _SECURE_COOKIE if secure else _PLAIN_COOKIE,
        secret,
        max_age=max_age,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def clear_login_cookie(response: Response, connection: HTTPConnection) -> None:
    set_login_cookie(response, connection, "", 0)


class Authentication:
    """Middleware that puts the `Caller` into the state of each connection."""

    def __init__(self, app: ASGIApp, state: WebState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if _token_in_url(connection.query_params):
            words = (
                "a credential in a URL ends in logs and histories, and so is not taken; send it as the "
                "header `Authorization: Bearer …`, and end it, as it has been shown"
            )
            await problem_response(400, words)(scope, receive, send)
            return
        try:
            found = await self._find(connection)
        except BrokerError as e:
            away = problem_response(503, str(e), (), {"Retry-After": str(RETRY_AFTER)})
            await away(scope, receive, send)
            return
        connection.state.caller = found
        await self._app(scope, receive, send)

    async def _find(self, connection: HTTPConnection) -> Caller:
        nobody = self._state.anonymous
        headers = connection.headers.getlist("authorization")
        if headers:
            scheme, _, secret = headers[0].partition(" ")
            if len(headers) > 1 or scheme.lower() != "bearer" or not secret.strip():
                return Caller(nobody, "the header Authorization is none of ours; write `Bearer <token>`")
            known = await self._state.authenticator.bearer(secret.strip(), time.time())
            return Caller(known) if known else Caller(nobody, "the token is not known, or no longer valid")
        if connection.scope["type"] == "websocket":
            return await self._by_ticket(connection)
        if cookie := login_cookie(connection):
            known = await self._state.authenticator.cookie(cookie, time.time())
            if known:
                return Caller(known, by_cookie=True)
            return Caller(nobody, "the login has ended; sign in again", by_cookie=True)
        return Caller(nobody)

    async def _by_ticket(self, connection: HTTPConnection) -> Caller:
        """Cookies do not count here: any page could open a socket with them."""
        offered = [p for p in connection.scope.get("subprotocols", ()) if p.startswith(_TICKET)]
        if not offered:
            return Caller(self._state.anonymous)
        known = (
            await self._state.tickets.redeem(offered[0].removeprefix(_TICKET)) if len(offered) == 1 else None
        )
        if known is not None and known.kind != "anonymous":
            known = await self._state.authenticator.valid(known, time.time())
        if known is None:
            return Caller(
                self._state.anonymous, "the ticket is not known, too old, or was used before; get a new one"
            )
        return Caller(known)


def _token_in_url(query: QueryParams) -> bool:
    return any(n.lower() in _URL_NAMES or _URL_SECRET.search(v) for n, v in query.multi_items())
