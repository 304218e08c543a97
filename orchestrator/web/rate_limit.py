"""How much may be asked: by who asks where that is known, else by address."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Literal

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from broker_config.api import API_PREFIX
from orchestrator.core.login_backoff import LoginBackoff
from orchestrator.core.token_buckets import TokenBuckets, whole_seconds

from .audit_trail import note
from .authentication import address, caller
from .problems import RequestRefused, response_of

#: What a route may be counted as beside a request to the API.
Kind = Literal["submit", "login"]
#: Always answered: these tell whether the process is well.
_FREE = frozenset({f"{API_PREFIX}/health", f"{API_PREFIX}/ready"})


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A minute, in the long run; a quarter of it may come at once. 0 is no bound."""

    #: Requests to the API, and jobs that are submitted.
    api: int = 6000
    submits: int = 240
    #: Handshakes of `/ws`, by address.
    sockets: int = 600
    #: Attempts to log in, by name and by address; who uses them up waits longer and longer.
    logins: int = 5


class RateLimit:
    """The counters of one orchestrator. All raise `RequestRefused` (429)."""

    def __init__(self, limits: RateLimits) -> None:
        self._api = _buckets(limits.api)
        self._submits = _buckets(limits.submits)
        self._sockets = _buckets(limits.sockets)
        self._logins = LoginBackoff(limits.logins) if limits.logins else None

    def request(self, connection: HTTPConnection) -> None:
        _take(self._api, _who(connection), "requests")

    def handshake(self, connection: HTTPConnection) -> None:
        _take(self._sockets, _network(address(connection)), "connections")

    def route(self, kind: Kind | None, request: Request) -> None:
        """Before the handler of a route of this kind."""
        if kind == "submit":
            _take(self._submits, _who(request), "jobs")
        elif kind == "login":
            self._login(_network(address(request)))

    def login(self, name: str) -> None:
        """Before the password of this user is looked at; the address has been counted already."""
        self._login(f"user {name}")

    def logged_in(self, name: str, request: Request) -> None:
        """The password was right. The address does not start anew by it: else an account of one's own would
        do to go on guessing others'."""
        if self._logins is not None:
            self._logins.forget(f"user {name}")
            self._logins.refund(_network(address(request)))

    def _login(self, key: str) -> None:
        if self._logins is not None and (wait := self._logins.attempt(key, _now())):
            raise _refused(wait, "attempts to log in")


class RequestLimit:
    """Middleware, after authentication."""

    def __init__(self, app: ASGIApp, limit: RateLimit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts = scope["type"] == "http" and scope["path"].startswith(API_PREFIX)
        if counts and scope["path"] not in _FREE:
            try:
                self._limit.request(HTTPConnection(scope))
            except RequestRefused as e:
                note(HTTPConnection(scope), "request", "refused", object=scope["path"], detail=e.detail)
                await response_of(e)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class HandshakeLimit:
    """Middleware for `/ws`; before authentication, which asks the broker."""

    def __init__(self, app: ASGIApp, limit: RateLimit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            try:
                self._limit.handshake(HTTPConnection(scope))
            except RequestRefused as e:
                note(HTTPConnection(scope), "socket.open", "refused", detail=e.detail)
                await response_of(e)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _buckets(a_minute: int) -> TokenBuckets | None:
    return TokenBuckets(a_minute / 60, max(5.0, a_minute / 4)) if a_minute else None


def _take(buckets: TokenBuckets | None, key: str, what: str) -> None:
    if buckets is not None and (wait := buckets.take(key, _now())):
        raise _refused(wait, what)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _who(connection: HTTPConnection) -> str:
    found = caller(connection).principal
    if found.kind == "anonymous":
        return _network(address(connection))
    return f"{found.kind} {found.name}"


def _network(host: str) -> str:
    """Of IPv6 the network: whoever has one address there has them all."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if found.version == 4:
        return host
    return str(ipaddress.ip_network((found, 64), strict=False))


def _refused(wait: float, what: str) -> RequestRefused:
    seconds = whole_seconds(wait)
    return RequestRefused(
        429, f"too many {what}; try again in {seconds} s", headers={"Retry-After": str(seconds)}
    )
