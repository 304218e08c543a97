"""`/login` and `/logout`: by name and password."""

from __future__ import annotations

import time
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from broker_config import codec
from broker_config.errors import UserNotFound
from broker_config.people import User
from broker_config.people_api import Done, LoginMade, LoginTry
from orchestrator.core.access import PUBLIC
from orchestrator.core.served_names import is_loopback

from .audit_trail import about
from .authentication import address, caller, clear_login_cookie, is_secure, set_login_cookie
from .people import verified
from .people_state import people
from .problems import RequestRefused
from .typed_route import TypedRoute
from .web_state import rate_limit

_REFUSED = "name and password do not fit, or the user is disabled"
_MAX_USER_AGENT = 200


async def log_in(request: Request, *, body: LoginTry) -> LoginMade | Response:
    """Log in by name and password.

    It takes as long for a name that nobody has, and says no more. A browser's login ends after an hour in
    which it asked for nothing, and after 12 hours; that of a command line after 30 days.
    """
    if body.keep == "cookie":
        may_have_cookie(request)
    rate_limit(request).login(body.name[:100])
    try:
        user: User | None = await people(request).users.get(body.name)
    except UserNotFound:
        user = None
    if user is not None:
        # Of names that nobody has none is kept: now and then one is a password.
        about(request, object=user.name)
    hash = user.password_hash if user is not None and not user.disabled else ""
    if not await verified(request, hash, body.password) or user is None:
        raise RequestRefused(401, _REFUSED)
    rate_limit(request).logged_in(body.name[:100], request)
    if people(request).passwords.is_weak(hash):
        store, better = people(request), await people(request).passwords.hash(body.password)
        await store.users.rehash(user.name, hash, better)
    return await admitted(request, user, body.keep)


async def log_out(request: Request) -> Done | Response:
    """End the login that the request comes with; without one, nothing happens."""
    who = caller(request).principal
    if who.kind == "user" and who.credential:
        await people(request).credentials.log_out(who.credential)
    answer = Response(codec.encode(Done(name=who.name)), media_type="application/json")
    clear_login_cookie(answer, request)
    return answer


async def admitted(
    request: Request, user: User, keep: Literal["cookie", "bearer"], answer: Response | None = None
) -> Response:
    """A new login of the user: its secret in the answer's cookie, or in its body."""
    about(request, actor=user.name, kind="user", object=user.name)
    login, secret = await people(request).credentials.log_in(
        user,
        address=address(request),
        user_agent=request.headers.get("user-agent", "")[:_MAX_USER_AGENT],
        bearer=keep == "bearer",
    )
    made = LoginMade(
        name=user.name,
        role=user.role,
        expires_at=login.expires_at,
        secret=secret if keep == "bearer" else "",
    )
    out = answer or Response(codec.encode(made), media_type="application/json")
    if keep == "cookie":
        set_login_cookie(out, request, secret, int(login.expires_at - time.time()))
    return out


def may_have_cookie(request: Request) -> None:
    """Raises `RequestRefused` where a cookie would go over a network in plain text."""
    if is_secure(request) or (is_loopback(address(request)) and is_loopback(request.url.hostname or "")):
        return
    raise RequestRefused(
        403,
        "browsers log in here by https only; serve with --tls-cert and --tls-key, or name the https origin "
        "of what stands before this server by --public-origin",
    )


_BROKER = (502, 503)
ROUTES = [
    TypedRoute(
        "POST",
        "/login",
        log_in,
        tag="people",
        access=PUBLIC,
        audits="login",
        rate="login",
        problems=(401, 403, 409, 429, 507, *_BROKER),
    ),
    TypedRoute(
        "POST",
        "/logout",
        log_out,
        tag="people",
        access=PUBLIC,
        audits="logout",
        problems=_BROKER,
    ),
]
