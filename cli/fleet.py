"""`tb sessions …`, `tb runners …`, `tb platforms`."""

from __future__ import annotations

import time
from typing import Any

from . import render, runner_tables
from .client import Client
from .output import err, show


async def sessions(
    client: Client, job: str, *, status: str | None, limit: int, json: bool, wide: bool
) -> None:
    rows: list[Any] = []
    cursor: str | None = None
    async with client as c:
        while len(rows) < limit:
            page = await c.sessions(job, status=status, limit=min(1000, limit - len(rows)), cursor=cursor)
            rows += page.items
            cursor = page.next
            if cursor is None:
                break
    nothing = f"no session is {status}" if status else "no sessions have ended yet"
    show(rows, lambda: render.sessions(rows), json=json, wide=wide, nothing=nothing)
    if cursor is not None:
        err().print(f"more than {limit}; --limit shows more", markup=False)


async def runners(client: Client, *, json: bool, wide: bool) -> None:
    async with client as c:
        rows = (await c.runners()).items
    nothing = "no runners; start one with: tb-runner start --nats URL"
    show(rows, lambda: runner_tables.runners(rows, time.time()), json=json, wide=wide, nothing=nothing)


async def runner(client: Client, id: str, *, json: bool) -> None:
    async with client as c:
        view = await c.runner(id)
    show([view], lambda: runner_tables.runner(view, time.time()), json=json)


async def platforms(client: Client, *, json: bool) -> None:
    async with client as c:
        rows = (await c.platforms()).items
    nothing = "no platforms: no runner is online"
    show(rows, lambda: runner_tables.platforms(rows), json=json, nothing=nothing)
