"""Who may do what: one decision, from who it is, what it takes, and to which project it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from broker_config.people import ROLES, Role

#: `local`: the credential that the orchestrator has put beside its data, for its own machine.
PrincipalKind = Literal["anonymous", "user", "token", "local"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who asks. `role` holds for the fleet; `projects` are the roles by membership, narrowed already
    by what the credential allows. `None` as a role is nothing."""

    kind: PrincipalKind
    name: str = ""
    role: Role | None = None
    projects: Mapping[str, Role] = {}
    #: An admin whose credential is not narrowed to some projects has all of them.
    all_projects: bool = False
    #: Id of the token or login by which it came: what is revoked.
    credential: str = ""


ANONYMOUS = Principal(kind="anonymous")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a request takes. `public` takes nothing; `known` that it is known who asks (or that those who are
    not may do something); `fleet` the role of the whole; `project` that in the object's project."""

    scope: Literal["public", "known", "fleet", "project"]
    role: Role = "viewer"


PUBLIC = Access(scope="public")
KNOWN = Access(scope="known")


def reaches(have: Role | None, need: Role) -> bool:
    return have is not None and ROLES.index(have) >= ROLES.index(need)


def role_in(principal: Principal, project: str) -> Role | None:
    """The role of the principal in a project; None if it has no business there."""
    if principal.all_projects and principal.role is not None:
        return principal.role
    return principal.projects.get(project)


def may(principal: Principal, access: Access, project: str | None = None) -> bool:
    """`project` is that of the object, where the access is to a project's object.

    Without one, `project` access is to a list or to something new: it takes the role in any project, and what
    is listed or made is narrowed by `role_in`."""
    if access.scope == "public":
        return True
    if access.scope == "known":
        return principal.kind != "anonymous" or principal.role is not None
    if access.scope == "fleet":
        return reaches(principal.role, access.role)
    if project is not None:
        return reaches(role_in(principal, project), access.role)
    if principal.all_projects:
        return reaches(principal.role, access.role)
    return any(reaches(role, access.role) for role in principal.projects.values())
