"""`/oidc/start` and `/oidc/callback`: login by an OpenID provider, for browsers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker_config import codec
from broker_config.api import API_PREFIX
from broker_config.errors import Conflict, MessageError, SealBroken
from broker_config.people import User
from orchestrator.core.access import PUBLIC
from orchestrator.core.oidc_claims import identity, name_of, role_of

from .authentication import is_secure
from .login import admitted, may_have_cookie
from .oidc_provider import Flow, OidcFailed, OidcProvider
from .people_state import people
from .problems import RequestRefused
from .typed_route import GuardedRoute

#: Seconds for the whole way to the provider and back.
MAX_AGE = 600
_PLACE = "oidc flow"


async def start(request: Request) -> Response:
    """Send the browser to the provider."""
    provider = _provider(request)
    may_have_cookie(request)
    scheme = "https" if is_secure(request) else "http"
    redirect = f"{scheme}://{request.headers['host']}{API_PREFIX}/oidc/callback"
    try:
        url, flow = await provider.begin(redirect, time.time())
    except OidcFailed as e:
        raise RequestRefused(502, str(e)) from None
    answer = RedirectResponse(url, 303)
    sealed = people(request).seal.seal(_PLACE, codec.encode(flow)).hex()
    # Lax: the way back begins at the provider's page.
    answer.set_cookie(
        _cookie(request),
        sealed,
        max_age=MAX_AGE,
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )
    return answer


async def callback(request: Request) -> Response:
    """Take the one whom the provider sends back, and log them in."""
    provider = _provider(request)
    may_have_cookie(request)
    flow = _flow(request)
    query, now = request.query_params, time.time()
    if (
        flow is None
        or now > flow.at + MAX_AGE
        or not hmac.compare_digest(query.get("state", "").encode(), flow.state.encode())
    ):
        raise RequestRefused(400, "this login was not begun here, or too long ago; begin it again")
    if "code" not in query:
        raise RequestRefused(403, f"the provider let nobody in: {query.get('error', 'no reason')[:200]}")
    try:
        claims = await provider.finish(flow, query["code"], now)
    except OidcFailed as e:
        raise RequestRefused(502, f"{e}; begin it again") from None
    user = await _user(request, provider, claims)
    answer = await admitted(request, user, "cookie", RedirectResponse("/", 303))
    answer.delete_cookie(_cookie(request), path="/", secure=is_secure(request), httponly=True, samesite="lax")
    return answer


async def _user(request: Request, provider: OidcProvider, claims: Mapping[str, Any]) -> User:
    """The user for whom the provider vouches: the one with that identity, or a new one."""
    users, settings = people(request).users, provider.settings
    vouched = identity(settings.issuer, claims["sub"])
    role = role_of(claims, settings)
    if role is None:
        raise RequestRefused(403, "the provider gives you no role here; its administrators can change that")
    user = await users.vouched_for(vouched)
    if user is None:
        name = name_of(claims, settings)
        if not name:
            raise RequestRefused(403, f"the provider names you by no {settings.name_claim} that can be used")
        try:
            user = await users.add(name, role, oidc=vouched)
        except Conflict:
            words = f"another user is called {name}; an admin can say that it is you:"
            order = f"tb users change {name} --oidc '{vouched}'"
            raise RequestRefused(409, f"{words} {order}") from None
    elif settings.role_claim and user.role != role:
        user = await users.change(user.name, lambda u: msgspec.structs.replace(u, role=role))
    if user.disabled:
        raise RequestRefused(403, "the user is disabled here")
    return user


def _provider(request: Request) -> OidcProvider:
    found = people(request).oidc
    if found is None:
        raise RequestRefused(404, "no OpenID provider is named in the settings of this server")
    return found


def _cookie(request: Request) -> str:
    return "__Host-tb-oidc" if is_secure(request) else "tb-oidc"


def _flow(request: Request) -> Flow | None:
    try:
        data = bytes.fromhex(request.cookies.get(_cookie(request), ""))
        return codec.decode(people(request).seal.open(_PLACE, data), Flow)
    except (ValueError, SealBroken, MessageError):
        return None


ROUTES = [
    GuardedRoute("/oidc/start", start, methods=["GET"], access=PUBLIC),
    GuardedRoute("/oidc/callback", callback, methods=["GET"], access=PUBLIC, audits="login"),
]
