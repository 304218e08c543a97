"""`/tokens`: one's own by anybody, all by admins. A secret is shown once, when it is made."""

from __future__ import annotations

import time

import msgspec
from starlette.requests import Request

from broker_config.errors import ProjectNotFound, TokenNotFound
from broker_config.people import LOCAL_OWNER, ApiToken, User
from broker_config.people_api import Done, TokenList, TokenMade, TokenNew, token_view
from orchestrator.core.access import KNOWN, Principal, reaches, role_in
from orchestrator.core.principals import beyond

from .audit_trail import about
from .authentication import principal
from .people_state import people
from .problems import RequestRefused
from .typed_route import Reply, TypedRoute


class TokensQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    owner: str | None = None


async def list_tokens(request: Request, *, query: TokensQuery) -> TokenList:
    """Tokens, newest first: one's own; for an admin all, or those of one owner."""
    who = principal(request)
    owner = query.owner if reaches(who.role, "admin") else who.name
    if who.kind == "anonymous" and not reaches(who.role, "admin"):
        return TokenList(items=[])
    return TokenList(items=[token_view(t) for t in await people(request).credentials.tokens(owner)])


async def issue_token(request: Request, *, body: TokenNew) -> Reply[TokenMade]:
    """Make a token; the answer is the only one with its secret.

    It never allows more than its owner may at the time of use; `role` and `projects` narrow that. One that is
    narrowed to projects decides nothing about the fleet. Made with a token, it gets no more than that one,
    and ends with it.
    """
    who, store = principal(request), people(request)
    owner = await _owner(request, who, body.owner)
    for project in body.projects or ():
        # Those that one may not see are missing, like those that are.
        if role_in(who, project) is None:
            raise ProjectNotFound.of(project)
        await store.projects.get(project)
    parent = await store.credentials.token(who.credential) if who.kind == "token" else None

    def check(made: ApiToken) -> None:
        if parent is not None and (more := beyond(parent, made)):
            raise RequestRefused(403, f"the token that you use does not have {more}; log in to make this one")

    made, secret = await store.credentials.add_token(
        owner,
        body.name,
        body.role,
        projects=body.projects,
        expires_at=None if body.life is None else time.time() + body.life,
        parent=parent.id if parent is not None else "",
        check=check,
    )
    about(request, object=made.id, detail=f"{made.name}, of {made.owner}, role {made.role}")
    return Reply(TokenMade(token=token_view(made), secret=secret), 201)


async def revoke_token(request: Request, *, id: str) -> Done:
    """End a token: what uses it is cut off within two seconds."""
    who, store = principal(request), people(request)
    found = await store.credentials.token(id)
    if not reaches(who.role, "admin") and (who.kind == "anonymous" or found.owner != who.name):
        about(request, result="refused", detail="it is a token of somebody else")
        raise TokenNotFound.of(id)
    about(request, detail=f"{found.name}, of {found.owner}")
    if who.kind == "token" and not reaches(who.role, "admin"):
        # How long it lives does not matter.
        own = await store.credentials.token(who.credential)
        if more := beyond(own, msgspec.structs.replace(found, expires_at=own.expires_at)):
            raise RequestRefused(403, f"the token that you use does not have {more}; log in to end that one")
    await store.credentials.revoke_token(id)
    return Done(name=id)


async def _owner(request: Request, who: Principal, name: str) -> User:
    if name and name != who.name:
        if not reaches(who.role, "admin"):
            raise RequestRefused(403, "a token for another user is made by an admin")
        return await people(request).users.get(name)
    if who.kind == "anonymous":
        raise RequestRefused(403, "a token needs an owner: name a user, or log in")
    if who.name == LOCAL_OWNER:
        return User(name=LOCAL_OWNER, role="admin")
    return await people(request).users.get(who.name)


_BROKER = (502, 503)
ROUTES = [
    TypedRoute("GET", "/tokens", list_tokens, tag="people", access=KNOWN, problems=_BROKER),
    TypedRoute(
        "POST",
        "/tokens",
        issue_token,
        tag="people",
        access=KNOWN,
        audits="token.issue",
        statuses={201: "Made."},
        problems=(403, 404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        "/tokens/{id}",
        revoke_token,
        tag="people",
        access=KNOWN,
        audits="token.revoke",
        problems=(403, 404, 409, 507, *_BROKER),
    ),
]
