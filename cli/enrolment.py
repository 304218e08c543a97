"""`tb runners invite | invites | uninvite | revoke`: which machines may be runners."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from broker_config.enrolment import InviteList, InviteRemoved, InviteView, NewInvite, RunnerRevoked

from .client import Client, _part, _read
from .output import err, json_line, show
from .table import Table, row, table
from .words import ago, clock_time


class EnrolmentClient(Client):
    """A `Client` with these calls."""

    async def invite(
        self, *, uses: int, ttl: str, pool: str | None, platforms: list[str], scripts: bool
    ) -> NewInvite:
        body = {"uses": uses, "ttl": ttl, "pool": pool, "platforms": platforms, "scripts": scripts}
        return _read(await self._call("POST", "/runner-invites", json=body), NewInvite)

    async def invites(self) -> InviteList:
        return _read(await self._get("/runner-invites"), InviteList)

    async def remove_invite(self, id: str) -> InviteRemoved:
        return _read(await self._call("DELETE", f"/runner-invites/{_part(id)}"), InviteRemoved)

    async def revoke(self, runner: str) -> RunnerRevoked:
        return _read(await self._call("POST", f"/runners/{_part(runner)}/revoke"), RunnerRevoked)


async def invite(
    client: EnrolmentClient,
    *,
    uses: int,
    ttl: str,
    pool: str | None,
    platforms: list[str],
    scripts: bool,
    ca_file: str,
    json: bool,
) -> None:
    """Print the token, and what to type on the other machine."""
    async with client as c:
        made = await c.invite(uses=uses, ttl=ttl, pool=pool, platforms=platforms, scripts=scripts)
    if json:
        json_line(made)
        return
    start = ["tb-runner", "start", "--join-token-file", "join.token", "--server", client.server]
    start += ["--ca-file", "ca.pem"] if ca_file else []
    start += ["--allow-scripts"] if scripts else []
    console = err()
    machines = "one machine" if uses == 1 else f"{uses} machines"
    until = clock_time(made.invite.expires_at)
    console.print(f"invite {made.invite.id} lets {machines} join until {until}; its token:", markup=False)
    print(made.token, flush=True)
    console.print("On the other machine, with the token in a file that only its user can read:", markup=False)
    console.print("  (umask 077; cat > join.token)     # paste the token, then Ctrl-D", markup=False)
    if ca_file:
        console.print(f"  # and a copy of {ca_file} as ca.pem", markup=False)
    console.print(f"  {shlex.join(start)}", markup=False)


async def show_invites(client: EnrolmentClient, *, json: bool) -> None:
    async with client as c:
        found = (await c.invites()).items
    nothing = "no invites; tb runners invite makes one"
    show(found, lambda: _table(found, time.time()), json=json, nothing=nothing)


async def uninvite(client: EnrolmentClient, id: str, *, json: bool) -> None:
    async with client as c:
        done = await c.remove_invite(id)
    if json:
        json_line(done)
    else:
        err().print(f"invite {id} is withdrawn; who has joined by it stays", markup=False)


async def revoke(client: EnrolmentClient, runner: str, *, json: bool) -> None:
    async with client as c:
        done = await c.revoke(runner)
    if json:
        json_line(done)
    else:
        err().print(f"the credential of runner {runner} is revoked; it is cut off", markup=False)


def _table(invites: Sequence[InviteView], now: float) -> Table:
    out = table("invite", "used", "until", "pool", "platforms", "scripts", "made", "by")
    for i in invites:
        row(
            out,
            i.id,
            f"{i.used} of {i.uses}",
            clock_time(i.expires_at),
            i.pool or "–",
            ", ".join(i.platforms) or "all",
            "yes" if i.scripts else "no",
            ago(i.made_at, now),
            i.made_by or "–",
        )
    return out
