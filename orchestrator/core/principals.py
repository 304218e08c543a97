"""What a token or a login may, from the documents of its owner: never more than the owner may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker_config.people import LOCAL_OWNER, ROLES, ApiToken, Login, Project, Role, User

from .access import Principal

#: A browser that asks for nothing for so long has to log in again, s.
IDLE = 3600.0
#: However busy it is, s; and a command line.
LIFE, BEARER_LIFE = 12 * 3600.0, 30 * 86_400.0


def lesser(a: Role, b: Role) -> Role:
    return ROLES[min(ROLES.index(a), ROLES.index(b))]


def memberships(projects: Iterable[Project]) -> dict[str, dict[str, Role]]:
    """By user, the roles in projects."""
    out: dict[str, dict[str, Role]] = {}
    for project in projects:
        for user, role in project.members.items():
            out.setdefault(user, {})[project.name] = role
    return out


def of_login(
    login: Login, user: User | None, projects: Mapping[str, Role], now: float, used: float = 0.0
) -> Principal | None:
    """None where the login has ended. `projects` are the user's roles by membership; `used` is when the login
    was used last, where its document does not know it yet."""
    if user is None or user.disabled or user.generation != login.generation or now >= login.expires_at:
        return None
    if not login.bearer and now - max(login.created_at, login.last_used_at, used) > IDLE:
        return None
    return of_user(user, projects, login.id)


def of_user(user: User, projects: Mapping[str, Role], credential: str = "") -> Principal:
    is_admin = user.role == "admin"
    return Principal(
        kind="user",
        name=user.name,
        role=user.role,
        projects={} if is_admin else dict(projects),
        all_projects=is_admin,
        credential=credential,
    )


def of_token(
    token: ApiToken, owner: User | None, projects: Mapping[str, Role], now: float
) -> Principal | None:
    """None where the token is of no use any more. Narrowed to some projects, it decides nothing about the
    fleet, whoever owns it: else it could widen itself."""
    if token.owner == LOCAL_OWNER:
        owner = User(name=LOCAL_OWNER, role="admin", generation=token.generation)
    if owner is None or owner.disabled or owner.generation != token.generation:
        return None
    if token.expires_at is not None and now >= token.expires_at:
        return None
    whole = of_user(owner, projects)
    role = lesser(owner.role, token.role)
    if token.projects is None:
        roles, all_projects = whole.projects, whole.all_projects
    else:
        have = dict.fromkeys(token.projects, owner.role) if whole.all_projects else whole.projects
        roles, all_projects = {p: have[p] for p in token.projects if p in have}, False
        role = lesser(role, "viewer")
    return Principal(
        kind="local" if token.is_local else "token",
        name=owner.name,
        role=role,
        projects={p: lesser(r, token.role) for p, r in roles.items()},
        all_projects=all_projects,
        credential=token.id,
    )


def beyond(parent: ApiToken, made: ApiToken) -> str:
    """What a token that is made with another one would have beyond that one; empty if nothing."""
    if lesser(made.role, parent.role) != made.role:
        return f"the role {made.role}"
    if parent.projects is not None:
        if made.projects is None:
            return "all projects"
        if more := [p for p in made.projects if p not in parent.projects]:
            return f"project {more[0]}"
    if parent.expires_at is not None and (made.expires_at is None or made.expires_at > parent.expires_at):
        return "a longer life"
    return ""
