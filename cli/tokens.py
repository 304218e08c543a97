"""`tb tokens …`. A secret is shown once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from broker_config.duration import Duration
from broker_config.errors import Problem, SpecError

from . import people_tables, private_file
from .output import err, json_line, out, show
from .people_client import PeopleClient


async def create(
    client: PeopleClient,
    name: str,
    *,
    role: str,
    projects: list[str] | None,
    expires: str | None,
    owner: str | None,
    output: Path | None,
    json: bool,
) -> None:
    body: dict[str, Any] = {"name": name, "role": role, "projects": projects, "owner": owner or ""}
    if expires is not None:
        try:
            body["life"] = float(Duration.parse(expires))
        except ValueError as e:
            raise SpecError([Problem("--expires", str(e))]) from None
    async with client as c:
        made = await c.issue_token(body)
    if output is not None:
        private_file.write(output, made.secret + "\n")
    if json:
        json_line(made if output is None else made.token)
    elif output is None:
        out().print(made.secret, markup=False)
        err().print(f"token {made.token.id} is made; its secret is shown this once", markup=False)
    else:
        err().print(f"token {made.token.id} is made; its secret is in {output}", markup=False)


async def show_list(client: PeopleClient, owner: str | None, *, json: bool, wide: bool) -> None:
    async with client as c:
        tokens = (await c.tokens(owner)).items
    nothing = "no tokens; tb tokens create NAME makes one"
    table = lambda: people_tables.tokens(tokens, time.time())  # noqa: E731
    show(tokens, table, json=json, wide=wide, nothing=nothing)


async def revoke(client: PeopleClient, id: str, *, json: bool) -> None:
    async with client as c:
        await c.revoke_token(id)
    if json:
        json_line({"id": id})
    else:
        err().print(f"token {id} is revoked", markup=False)
