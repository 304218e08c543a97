"""A fleet on one machine: two orchestrators, a Chromium runner and a Firefox runner, one broker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest

from broker_config.embedded_server import EmbeddedServer
from broker_config.platform import this_system
from tests.support.site import Site
from tests.support.waiting import eventually

from .machine import RUNNER, Machine, Program, offered

CHROMIUM, FIREFOX = f"{this_system()}-chromium", f"{this_system()}-firefox"


class Fleet(NamedTuple):
    machine: Machine
    one: str
    two: str
    chromium: Program
    firefox: Program

    async def platforms(self, server: str) -> dict[str, tuple[int, int]]:
        """Slots and free slots by platform, as `tb` shows them."""
        rows = (await self.machine.tb("--server", server, "platforms", "--json")).rows
        return {r["platform"]: (r["slots"], r["free"]) for r in rows}

    async def offers(self, server: str, *platforms: str, within: float = 20.0) -> None:
        async def just_these() -> bool:
            return set(await offered(server)) == set(platforms)

        await eventually(just_these, within, what=f"{server} offers {platforms}", interval=0.1)


@pytest.fixture
async def fleet(own_broker: EmbeddedServer, machine: Machine) -> AsyncIterator[Fleet]:
    nats = ("--nats", own_broker.url)
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, module: str = "cli.tb") -> Program:
            return await stack.enter_async_context(machine.running(*arguments, *nats, module=module))

        one, two = [
            await start("orchestrator", "start", "--port", "0", "--name", name) for name in ("one", "two")
        ]
        chromium, firefox = [
            await start(
                *("start", "--name", name, "--browser", name, "--slots", "2", "--label", f"kind={name}"),
                *("--data-dir", str(machine.root / name)),
                module=RUNNER,
            )
            for name in ("chromium", "firefox")
        ]
        urls = [await o.said(f"orchestrator {name} serves") for o, name in ((one, "one"), (two, "two"))]
        fleet = Fleet(machine, urls[0], urls[1], chromium, firefox)
        await fleet.offers(fleet.one, CHROMIUM, FIREFOX)
        yield fleet
        for program in (chromium, firefox, one, two):
            if program.runs:
                program.signal(signal.SIGTERM)
        for program in (chromium, firefox, one, two):
            assert await program.ended(20) in (0, -signal.SIGKILL), program.words
    await machine.empty()


async def test_two_orchestrators_and_two_kinds_of_browser(fleet: Fleet, site: Site) -> None:
    tb = fleet.machine.tb
    assert await fleet.platforms(fleet.two) == {CHROMIUM: (2, 2), FIREFOX: (2, 2)}
    runners = (await tb("--server", fleet.two, "runners", "list", "--json")).rows
    assert {(r["id"], r["state"], r["labels"]["kind"]) for r in runners} == {
        ("chromium", "online", "chromium"),
        ("firefox", "online", "firefox"),
    }

    # Submitted at one, watched at the other, from both kinds of browser.
    job = ("--url", f"{site.url}/", "--sessions", "4", "--vus", "4", "--dwell", "0s")
    both = ("--platform", CHROMIUM, "--platform", FIREFOX)
    submitted = await tb("--server", fleet.one, "jobs", "submit", *job, *both, "--json")
    assert submitted.code == 0, submitted.err
    id = submitted.row["job"]["id"]
    watched = await tb("--server", fleet.two, "jobs", "watch", id, "--json", within=40)
    assert watched.code == 0, watched.err
    assert {p: g["ok"] for p, g in watched.row["platforms"].items()} == {CHROMIUM: 2, FIREFOX: 2}
    agents = [agent for path, agent in site.requests if path == "/"]
    assert sorted("Firefox/" in a for a in agents) == [False, False, True, True]
    shown = [await tb("--server", s, "jobs", "show", id, "--json") for s in (fleet.one, fleet.two)]
    assert shown[0].row["progress"] == shown[1].row["progress"]

    # What nobody offers waits, and says so.
    edge = ("--url", f"{site.url}/", "--sessions", "1", "--platform", "windows-msedge", "--json")
    id = (await tb("--server", fleet.two, "jobs", "submit", *edge)).row["job"]["id"]

    async def waits() -> bool:
        return "waiting for windows-msedge" in (await tb("--server", fleet.one, "jobs", "list")).out

    await eventually(waits, 5)
    async with fleet.machine.running("--server", fleet.one, "jobs", "watch", id) as watching:
        await watching.said("waiting for windows-msedge")
        assert (await tb("--server", fleet.two, "jobs", "cancel", id)).code == 0
        assert await watching.ended(5) == 3

    # Platforms follow who is online: at once where a runner takes its leave, after its silence where not.
    fleet.firefox.signal(signal.SIGTERM)
    assert await fleet.firefox.ended(15) == 0
    await asyncio.gather(*(fleet.offers(s, CHROMIUM, within=3) for s in (fleet.one, fleet.two)))
    fleet.chromium.signal(signal.SIGKILL)
    await asyncio.gather(*(fleet.offers(s, within=8) for s in (fleet.one, fleet.two)))
    states = {
        r["id"]: r["state"] for r in (await tb("--server", fleet.one, "runners", "list", "--json")).rows
    }
    assert states["chromium"] == "lost"
