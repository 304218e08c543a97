"""`tb users …`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from broker_config.errors import Problem, SpecError
from broker_config.people import ROLES
from broker_config.people_api import UserView

from . import passwords, people_tables
from .output import err, json_line, show
from .people_client import PeopleClient


async def add(
    client: PeopleClient,
    name: str,
    role: str,
    projects: Sequence[str],
    *,
    password: str | None,
    oidc: str,
    json: bool,
) -> None:
    """`projects` are `name` or `name=role`; without one, the role is that of the user."""
    body = {"name": name, "role": role, "oidc": oidc, "projects": dict(_member(p, role) for p in projects)}
    if password is not None:
        body["password"] = password
    async with client as c:
        made = await c.add_user(body)
    roles = ", ".join(f"{r} in {p}" for p, r in made.projects.items())
    _told(made, f"user {name} is made: {made.role}, {roles}", json=json)


async def show_list(client: PeopleClient, *, json: bool, wide: bool) -> None:
    async with client as c:
        users = (await c.users()).items
    nothing = "no users; tb users add NAME makes one"
    table = lambda: people_tables.users(users, time.time())  # noqa: E731
    show(users, table, json=json, wide=wide, nothing=nothing)


async def change(client: PeopleClient, name: str, body: dict[str, Any], *, json: bool) -> None:
    given = {k: v for k, v in body.items() if v is not None}
    if not given:
        raise SpecError([Problem("", "nothing to change: give --role, --enable or --oidc")])
    async with client as c:
        made = await c.change_user(name, given)
    state = "disabled" if made.disabled else "enabled"
    _told(made, f"user {name} is {made.role}, and {state}", json=json)


async def remove(client: PeopleClient, name: str, *, json: bool) -> None:
    async with client as c:
        await c.remove_user(name)
    if json:
        json_line({"name": name})
    else:
        err().print(f"user {name} is removed", markup=False)


async def password(
    client: PeopleClient, name: str, file: str | None, current_file: str | None, *, json: bool
) -> None:
    async with client as c:
        me = await c.me()
        needs = me.role != "admin" or current_file is not None
        current = passwords.of(current_file, f"password of {name} until now: ") if needs else ""
        made = await c.set_password(name, passwords.new(file, name), current)
    _told(made, f"user {name} has a new password; all logins and tokens have ended", json=json)


def _member(text: str, role: str) -> tuple[str, str]:
    project, sep, given = text.partition("=")
    if sep and given not in ROLES:
        raise SpecError([Problem("", f"--project {text!r}: {given!r} is no role; use {', '.join(ROLES)}")])
    return project, given or role


def _told(user: UserView, words: str, *, json: bool) -> None:
    if json:
        json_line(user)
    else:
        err().print(words, markup=False)
