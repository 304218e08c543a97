"""`tb kill`: the kill switch."""

from __future__ import annotations

import time

from broker_config.kill import KillView, kill_id

from .client import Client
from .output import err, json_line, show
from .table import Table, row, table
from .words import ago


async def kill(client: Client, *, job: str, project: str, fleet: bool, reason: str, json: bool) -> None:
    async with client as c:
        held = await c.kill(job=job, project=project, fleet=fleet, reason=reason)
    if json:
        json_line(held)
        return
    err().print(f"{_what(held)} is killed; tb kill --lift {_flag(held)} lifts that", markup=False)


async def lift(client: Client, *, job: str, project: str, json: bool) -> None:
    id = kill_id("job", job) if job else kill_id("project", project) if project else kill_id("fleet")
    async with client as c:
        lifted = await c.lift(id)
    if json:
        json_line(lifted)
        return
    err().print(f"the kill of {_what(lifted)} is lifted; what it has ended stays ended", markup=False)


async def show_list(client: Client, *, json: bool) -> None:
    async with client as c:
        kills = (await c.kills()).items
    show(kills, lambda: _table(kills, time.time()), json=json, nothing="nothing is killed")


def _table(kills: list[KillView], now: float) -> Table:
    out = table("killed", "by", "since", "reason", cut=["reason"])
    for k in kills:
        row(out, _what(k), k.by, ago(k.at, now), k.reason)
    return out


def _what(kill: KillView) -> str:
    if kill.scope == "fleet":
        return "the fleet"
    return f"job {kill.job}" if kill.scope == "job" else f"project {kill.project}"


def _flag(kill: KillView) -> str:
    if kill.scope == "fleet":
        return "--fleet"
    return f"--job {kill.job}" if kill.scope == "job" else f"--project {kill.project}"
