"""Whether who asks may have what is asked for: one place for all routes, before the handler and the body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import HTTPConnection, Request

from broker_config.errors import TrafficBusterError
from orchestrator.core.access import Access, Principal, may, role_in

from .audit_trail import about
from .authentication import caller
from .problems import RequestRefused

UNAUTHENTICATED = {"WWW-Authenticate": 'Bearer realm="TrafficBuster"'}
_SIGN_IN = "sign in by `tb login`, or send a token as `Authorization: Bearer …`"


class Owned(NamedTuple):
    """The project that an object belongs to, and what those are told who have no business there: the very
    words for an object that does not exist."""

    project: str
    missing: TrafficBusterError


#: Finds the owner of what the request is about; raises `…NotFound` where there is no such thing.
Resolver = Callable[[Request], Awaitable[Owned]]


async def check(request: Request, access: Access, of: Resolver | None) -> None:
    """Raises `RequestRefused` (401, 403), and what `of` raises."""
    if access.scope == "public":
        return
    who = known(request, access)
    if of is None:
        allowed = may(who, access)
    else:
        owned = await of(request)
        about(request, project=owned.project)
        if role_in(who, owned.project) is None:
            about(request, result="refused", detail="it belongs to a project of others")
            raise owned.missing
        allowed = may(who, access, owned.project)
    if not allowed:
        raise refusal(who, access)


def known(connection: HTTPConnection, access: Access) -> Principal:
    """Who asks, if it is known or those who are not may do something; else 401."""
    found = caller(connection)
    if found.refused:
        raise RequestRefused(401, f"{found.refused}; {_SIGN_IN}", headers=UNAUTHENTICATED)
    if found.principal.kind == "anonymous" and found.principal.role is None:
        raise RequestRefused(401, f"this is not open to everybody; {_SIGN_IN}", headers=UNAUTHENTICATED)
    return found.principal


def refusal(who: Principal, access: Access) -> RequestRefused:
    """What someone is told whose role does not suffice."""
    where = "of the fleet" if access.scope == "fleet" else "in the project"
    needs = f"this takes the role {access.role} {where}"
    if who.kind == "anonymous":
        return RequestRefused(401, f"{needs}; {_SIGN_IN}", headers=UNAUTHENTICATED)
    if access.scope == "project" and not who.all_projects and not who.projects:
        return RequestRefused(403, f"{needs}, and {who.name} is a member of none; an admin can change that")
    have = (
        f"{who.name} has the role {who.role}" if access.scope == "fleet" else f"{who.name} does not have it"
    )
    return RequestRefused(403, f"{needs}; {have}. An admin can change that")
