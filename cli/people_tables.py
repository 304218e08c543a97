"""Users, projects and tokens as people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from broker_config.people_api import ProjectView, TokenView, UserView

from .table import Table, row, table
from .words import ago, clock_time


def users(rows: Sequence[UserView], now: float) -> Table:
    out = table("user", "role", "state", "comes in by", "projects", "made", spare=["made"], cut=["projects"])
    for u in rows:
        state = Text("disabled", "red") if u.disabled else Text("enabled")
        ways = ", ".join(u.login) or "tokens"
        row(out, u.name, u.role, state, ways, _roles(u.projects), ago(u.created_at, now))
    return out


def tokens(rows: Sequence[TokenView], now: float) -> Table:
    names = ("id", "name", "owner", "role", "projects", "expires", "last used")
    out = table(*names, spare=["last used"], cut=["name", "projects"])
    for t in rows:
        projects = "all" if t.projects is None else ", ".join(t.projects) or "none"
        used = ago(t.last_used_at, now) if t.last_used_at else "never"
        row(out, t.id, t.name, t.owner, t.role, projects, _expires(t.expires_at, now), used)
    return out


def projects(rows: Sequence[ProjectView], now: float) -> Table:
    out = table("project", "your role", "members", "quotas", "made", right=["members"], spare=["made"])
    for p in rows:
        made = ago(p.created_at, now) if p.created_at else "–"
        members = str(len(p.members)) if p.role == "admin" else "–"
        row(out, p.name, p.role, members, quotas(p), made)
    return out


def members(project: ProjectView) -> Table:
    out = table("user", "role")
    for user, role in sorted(project.members.items()):
        row(out, user, role)
    return out


def quotas(project: ProjectView) -> str:
    """The bounds of a project in words."""
    q = project.quotas
    found = [f"{n} {what}" for what, n in _bounds(project).items() if n is not None]
    found += [] if q.egress else ["no proxies"]
    found += [] if q.scripts else ["no scripts"]
    return ", ".join(found) or "no bounds"


def _bounds(project: ProjectView) -> Mapping[str, int | None]:
    q = project.quotas
    return {
        "jobs": q.jobs,
        "sessions at once": q.vus,
        "sessions a job": q.sessions,
        "targets a job": q.targets,
        "schedules": q.schedules,
    }


def _roles(projects: Mapping[str, str]) -> str:
    return ", ".join(f"{p} ({r})" for p, r in sorted(projects.items())) or "–"


def _expires(at: float | None, now: float) -> str | Text:
    if at is None:
        return "never"
    return Text("expired", "red") if at <= now else clock_time(at)
