"""`tb projects …`."""

from __future__ import annotations

import time
from typing import Any

from broker_config.errors import Problem, SpecError
from broker_config.people_api import ProjectView

from . import people_tables
from .output import err, json_line, show
from .people_client import PeopleClient


async def keep(client: PeopleClient, name: str, quotas: dict[str, Any], *, new: bool, json: bool) -> None:
    """Make a project, or change its quotas. `quotas` are as given: a number, `none`, or None for as it is."""
    given = {k: _quota(k, v) for k, v in quotas.items() if v is not None}
    if not given and not new:
        raise SpecError([Problem("", "nothing to change: give a quota, such as --jobs 5")])
    async with client as c:
        made = await (c.add_project(name, given) if new else c.set_quotas(name, given))
    _told(made, f"project {name} {'is made' if new else 'has'}: {people_tables.quotas(made)}", json=json)


async def show_list(client: PeopleClient, name: str | None, *, json: bool, wide: bool) -> None:
    async with client as c:
        if name is not None:
            project = await c.project(name)
            members = [{"user": u, "role": r} for u, r in sorted(project.members.items())]
            nothing = f"no members that you may see; your role is {project.role}"
            show(members, lambda: people_tables.members(project), json=json, wide=wide, nothing=nothing)
            return
        projects = (await c.projects()).items
    nothing = "no projects that you may see; an admin makes you a member: tb projects member"
    table = lambda: people_tables.projects(projects, time.time())  # noqa: E731
    show(projects, table, json=json, wide=wide, nothing=nothing)


async def remove(client: PeopleClient, name: str, *, json: bool) -> None:
    async with client as c:
        await c.remove_project(name)
    if json:
        json_line({"name": name})
    else:
        err().print(f"project {name} is removed", markup=False)


async def member(
    client: PeopleClient, name: str, user: str, role: str | None, *, removing: bool, json: bool
) -> None:
    if (role is None) is not removing:
        raise SpecError([Problem("", "give --role, or --remove; not both")])
    async with client as c:
        made = await (c.remove_member(name, user) if role is None else c.set_member(name, user, role))
    words = "is no member" if role is None else f"is {role}"
    _told(
        made,
        f"{user} {words} of project {name}" if role is None else f"{user} {words} in project {name}",
        json=json,
    )


def _quota(name: str, value: str | bool) -> int | bool | None:
    if isinstance(value, bool):
        return value
    if value == "none":
        return None
    if not value.isascii() or not value.isdigit():
        raise SpecError([Problem(f"--{name}", f"{value!r} is not allowed; write a number, or none")])
    return int(value)


def _told(project: ProjectView, words: str, *, json: bool) -> None:
    if json:
        json_line(project)
    else:
        err().print(words, markup=False)
