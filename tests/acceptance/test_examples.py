"""The ten examples of docs/examples, run by the real parts against the demo shop."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from broker_config.job_plan import JobPlan
from cli import job_document
from cli.client import Client
from tests.support.ports import free_ports
from tests.support.proxies import UpstreamProxy, upstream
from tests.support.waiting import eventually

from .commands import Commands
from .machine import Machine, Result, offered

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
#: What a watched one exits with, where it is not 0: this one finds what is broken.
EXPECTED = {"10-script.yaml": 1}
AT_ONCE = 4


class Ran(NamedTuple):
    """What became of an example; `sessions` are its ended sessions."""

    plan: JobPlan
    asked_by_plan: int
    result: Result
    sessions: list[Any]

    @property
    def progress(self) -> Any:
        return self.result.row


class Scene(NamedTuple):
    """`planned` is what `tb jobs plan` says of the sixth, `refused` what it says of a foreign site."""

    planned: Result
    refused: Result
    ran: dict[str, Ran]
    paths: dict[str, int]
    proxies: list[UpstreamProxy]


@pytest_asyncio.fixture(scope="module")
async def scene(
    tmp_path_factory: pytest.TempPathFactory, bytecode: Path, forked: Commands
) -> AsyncIterator[Scene]:
    """All of them, some at once."""
    machine = Machine(tmp_path_factory.mktemp("examples") / "machine", bytecode, forked)
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(machine.running("demo-shop", "--port", "0"))
        browsers = ("--browser", "chromium", "--browser", "firefox")
        ports = ("--port", "0", "--nats-port", "0", "--slots", "4", "--allow-scripts")
        up = await stack.enter_async_context(
            machine.running(
                "up",
                "--data-dir",
                str(machine.root / "jobs"),
                *ports,
                *browsers,
                TB_GRACE="3",
                TB_ANONYMOUS="admin",
            )
        )
        # The second proxy is down.
        proxies = [await stack.enter_async_context(upstream(s)) for s in ("http", "socks5")]
        at = re.sub(r";.*", "", await shop.said("the demo shop is at"))
        (dead,) = free_ports(1)
        folder = machine.root / "examples"
        _copy(
            folder,
            {
                "127.0.0.1:8080": at.removeprefix("http://"),
                "127.0.0.1:3128": f"127.0.0.1:{proxies[0].port}",
                "127.0.0.1:3129": f"127.0.0.1:{dead}",
                "127.0.0.1:1080": f"127.0.0.1:{proxies[1].port}",
            },
        )
        server = await up.said("TrafficBuster serves")
        await eventually(lambda: offered(server), 60, what="a runner is online", interval=0.1)
        some = asyncio.Semaphore(AT_ONCE)

        async def run(name: str) -> Ran:
            async with some:
                file = str(folder / name)
                result = await machine.tb(
                    *("--server", server, "jobs", "submit", file, "--watch", "--json"), within=60
                )
                assert result.out, f"{name}: {result.err}"
            async with Client(server) as client:
                rows = (await client.sessions(result.row["job"], limit=1000)).items
            return Ran(plans[name], asked, result, rows)

        plans = {}
        async with Client(server) as client:
            for name in NAMES:
                plans[name] = await client.plan(await job_document.read(str(folder / name), {}))
        plan = ("--server", server, "jobs", "plan")
        planned, refused = await asyncio.gather(
            machine.tb(*plan, str(folder / "06-two-browsers.yaml")),
            machine.tb(*plan, "--url", "https://shop.example/", "--sessions", "1"),
        )
        async with httpx.AsyncClient(base_url=at) as http:
            asked = (await http.get("/_stats")).json()["total"]
            ran = dict(zip(NAMES, await asyncio.gather(*map(run, NAMES)), strict=True))
            paths = (await http.get("/_stats")).json()["paths"]
        yield Scene(planned, refused, ran, paths, proxies)
        up.signal(signal.SIGTERM)
        assert await up.ended(15) == 0
    await machine.empty()


def _copy(folder: Path, instead: dict[str, str]) -> None:
    """The examples with the addresses of this test in place of theirs."""
    shutil.copytree(EXAMPLES, folder)
    for path in folder.iterdir():
        text = path.read_text()
        for old, new in instead.items():
            text = text.replace(old, new)
        path.write_text(text)


def test_there_are_ten() -> None:
    assert [name[:2] for name in NAMES] == [f"{n:02}" for n in range(1, 11)]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(scene: Scene, name: str) -> None:
    ran = scene.ran[name]
    assert ran.result.code == EXPECTED.get(name, 0), _told(ran)
    counts = ran.progress["counts"]
    assert counts["ok"] > 0, _told(ran)
    over = sum(counts[status] for status in ("ok", "failed", "cancelled", "lost", "dropped"))
    assert over == counts["planned"], _told(ran)
    if name not in EXPECTED:
        assert (counts["failed"], counts["lost"]) == (0, 0), _told(ran)


@pytest.mark.parametrize("name", NAMES)
def test_its_plan_is_made_without_a_request(scene: Scene, name: str) -> None:
    ran = scene.ran[name]
    assert ran.asked_by_plan == 0
    planned = ran.progress["counts"]["planned"]
    assert planned <= ran.plan.most_sessions
    if ran.plan.sessions == ran.plan.most_sessions:
        assert planned == ran.plan.sessions
        assert sum(ran.plan.minutes) == planned


def test_the_command_shows_the_plan(scene: Scene) -> None:
    assert (scene.planned.code, scene.planned.err) == (0, "")
    lines = [" ".join(line.split()) for line in scene.planned.out.splitlines()]
    assert "4 sessions by shared-sessions, 4 at once" in lines[0]
    assert "windows-msedge 1 linux-chromium 1 4 4" in lines
    assert "! no online runner offers windows-msedge: linux-chromium stands in" in lines
    assert scene.refused.code == 2
    assert "https://shop.example is no target of project default" in scene.refused.err


def test_buyers_get_as_far_as_the_end(scene: Scene) -> None:
    assert scene.paths["/thank-you"] == scene.ran["03-buy.yaml"].progress["counts"]["ok"] == 2


def test_each_user_logs_in_once(scene: Scene) -> None:
    assert scene.paths["/account"] == 3


def test_two_browsers_and_what_stands_in_for_a_third(scene: Scene) -> None:
    rows = scene.ran["06-two-browsers.yaml"].sessions
    assert sorted((row.asked or row.platform, row.platform) for row in rows) == [
        ("linux-chromium", "linux-chromium"),
        ("linux-chromium", "linux-chromium"),
        ("linux-firefox", "linux-firefox"),
        ("windows-msedge", "linux-chromium"),
    ]


def test_sessions_leave_by_the_proxies_that_work(scene: Scene) -> None:
    assert all(proxy.asked for proxy in scene.proxies)


def test_the_broken_link_is_found(scene: Scene) -> None:
    (failed,) = [row for row in scene.ran["10-script.yaml"].sessions if row.status == "failed"]
    assert failed.target == "about"
    assert failed.error is not None
    assert "/error answers 500" in failed.error.detail


def _told(ran: Ran) -> str:
    wrong = [(row.session, row.status, row.error and row.error.detail) for row in ran.sessions]
    return f"{json.dumps(ran.progress['counts'])} {ran.progress.get('reason')} {wrong} {ran.result.err}"
