"""`/users` and `/me`: who there is, and who asks."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from broker_config.errors import Problem, UserNotFound
from broker_config.people import User
from broker_config.people_api import (
    Done,
    Me,
    PasswordChange,
    UserChange,
    UserList,
    UserNew,
    UserView,
    user_view,
)
from orchestrator.core.access import KNOWN, PUBLIC, Access, Principal, reaches
from orchestrator.core.principals import memberships

from .access_check import UNAUTHENTICATED
from .audit_trail import about
from .authentication import caller, principal
from .people_state import people
from .problems import RequestRefused
from .typed_route import Reply, TypedRoute
from .web_state import rate_limit

ADMIN = Access(scope="fleet", role="admin")
#: More passwords than this do not wait to be checked.
MAX_WAITING = 16


async def get_me(request: Request) -> Me:
    """Who asks, what they may, and how one can log in here."""
    if refused := caller(request).refused:
        raise RequestRefused(401, refused, headers=UNAUTHENTICATED)
    who = principal(request)
    return Me(
        kind=who.kind,
        name=who.name,
        role=who.role,
        all_projects=who.all_projects,
        projects=dict(who.projects),
        logins=["password", "oidc"] if people(request).oidc is not None else ["password"],
    )


async def list_users(request: Request) -> UserList:
    """All users, by name."""
    found = await people(request).users.list()
    roles = memberships(await people(request).projects.list())
    return UserList(items=[user_view(u, roles.get(u.name, {})) for u in found])


async def add_user(request: Request, *, body: UserNew) -> Reply[UserView]:
    """Make a user, with roles in projects. Without a password only tokens that an admin makes let it in."""
    about(request, object=body.name, detail=f"role {body.role}")
    store = people(request)
    for project in body.projects:
        await store.projects.get(project)
    hash = await _hashed(request, body.password) if body.password is not None else ""
    made = await store.users.add(body.name, body.role, password_hash=hash, oidc=body.oidc)
    for project, role in body.projects.items():
        await store.projects.set_member(project, made.name, role)
    return Reply(user_view(made, dict(body.projects)), 201)


async def get_user(request: Request, *, name: str) -> UserView:
    """A user and their roles in projects."""
    return await _view(request, await people(request).users.get(name))


async def change_user(request: Request, *, name: str, body: UserChange) -> UserView:
    """Change the role, disable or enable, or name the identity at the OpenID provider.

    A disabled user is cut off at once; what had been handed out stays of no use when they are enabled again.
    """
    given = {f: v for f in body.__struct_fields__ if (v := getattr(body, f)) is not None}
    about(request, detail=", ".join(f"{f}: {v}" for f, v in given.items()))

    def change(user: User) -> User:
        ends = body.disabled is True and not user.disabled
        return msgspec.structs.replace(user, **given, generation=user.generation + ends)

    return await _view(request, await people(request).users.change(name, change))


async def set_password(request: Request, *, name: str, body: PasswordChange) -> UserView:
    """Set a password: one's own, with the one until now, or as an admin anybody's.

    All logins and tokens of the user end.
    """
    who, store = principal(request), people(request)
    if not _is_admin(who):
        await _own(request, who, name, body.current)
    await store.users.get(name)
    return await _view(request, await store.users.set_password(name, await _hashed(request, body.password)))


async def remove_user(request: Request, *, name: str) -> Done:
    """Remove a user: cut off at once, taken out of all projects. Their jobs stay."""
    await people(request).users.remove(name)
    return Done(name=name)


async def _own(request: Request, who: Principal, name: str, current: str) -> None:
    """Raises what someone is told who may not set that password."""
    if who.name != name or who.kind == "anonymous":
        about(request, result="refused", detail="it is the password of somebody else")
        raise UserNotFound.of(name)
    if who.kind != "user":
        raise RequestRefused(403, "a password is changed by its owner, not with a token; `tb login` first")
    # As a login: else it would be the way to guess without bounds.
    rate_limit(request).login(name)
    user = await people(request).users.get(name)
    if not await verified(request, user.password_hash, current):
        wrong = Problem("current", "it is not the password until now")
        raise RequestRefused(422, str(wrong), [wrong])
    rate_limit(request).logged_in(name, request)


async def verified(request: Request, hash: str, password: str) -> bool:
    _room(request)
    return await people(request).passwords.verify(hash, password)


async def _hashed(request: Request, password: str) -> str:
    _room(request)
    return await people(request).passwords.hash(password)


def _room(request: Request) -> None:
    if people(request).passwords.waiting >= MAX_WAITING:
        raise RequestRefused(
            429, "too many passwords at once; try again in 2 s", headers={"Retry-After": "2"}
        )


def _is_admin(who: Principal) -> bool:
    return reaches(who.role, "admin")


async def _view(request: Request, user: User) -> UserView:
    roles = memberships(await people(request).projects.list())
    return user_view(user, roles.get(user.name, {}))


_BROKER = (502, 503)
ROUTES = [
    TypedRoute("GET", "/me", get_me, tag="people", access=PUBLIC, problems=(401, *_BROKER)),
    TypedRoute("GET", "/users", list_users, tag="people", access=ADMIN, problems=_BROKER),
    TypedRoute(
        "POST",
        "/users",
        add_user,
        tag="people",
        access=ADMIN,
        audits="user.add",
        statuses={201: "Made."},
        problems=(404, 409, 429, 507, *_BROKER),
    ),
    TypedRoute("GET", "/users/{name}", get_user, tag="people", access=ADMIN, problems=(404, *_BROKER)),
    TypedRoute(
        "PATCH",
        "/users/{name}",
        change_user,
        tag="people",
        access=ADMIN,
        audits="user.change",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        "/users/{name}",
        remove_user,
        tag="people",
        access=ADMIN,
        audits="user.remove",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "POST",
        "/users/{name}/password",
        set_password,
        tag="people",
        access=KNOWN,
        audits="user.password",
        problems=(403, 404, 409, 429, 507, *_BROKER),
    ),
]
