"""The doctor on this machine: real server, real browser, real ports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from broker_config.api import API_PREFIX
from broker_config.embedded_server import EmbeddedServer
from cli import doctor
from cli.checks import ports
from cli.demo_shop import create_shop
from orchestrator.web.server import WebServer
from tests.support.ports import free_ports


@asynccontextmanager
async def orchestrator(status: int) -> AsyncIterator[WebServer]:
    """Answers `/health` and `/ready` as an orchestrator does."""

    async def say(request: Request) -> Response:
        told = "ok" if status == 200 else "unavailable"
        return JSONResponse(
            {"status": told, "broker": "connected", "version": "0.1", "detail": "no broker"}, status
        )

    async with WebServer(
        Starlette(routes=[Mount(API_PREFIX, routes=[Route("/health", say), Route("/ready", say)])])
    ) as server:
        yield server


async def test_this_machine_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TB_BROWSER", "chromium")
    async with orchestrator(200) as server:
        findings = await doctor.examine(server.url, tmp_path)
    by_name = {f.name: f for f in findings}
    assert list(by_name) == [
        "Python",
        "packages",
        "nats-server",
        "browser chromium",
        "port 8700",
        "port 4222",
        "disk",
        "file descriptors",
        "clock",
        "server",
    ]
    for name in ("Python", "packages", "nats-server", "browser chromium", "server"):
        assert by_name[name].state == "ok", by_name[name]
    assert "started in" in by_name["browser chromium"].found
    assert all(f.mend for f in findings if f.state != "ok")
    assert not any("check itself failed" in f.found for f in findings)


async def test_a_browser_that_does_not_start_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TB_BROWSER", str(broken))
    (found,) = await doctor.browsers(start=True)
    assert (found.name, found.state) == ("browser chromium", "fail")
    assert "does not start" in found.found
    (unstarted,) = await doctor.browsers(start=False)
    assert (unstarted.state, "not started" in unstarted.found) == ("ok", True)
    monkeypatch.setenv("TB_BROWSER", str(tmp_path / "chromium-gone"))
    (gone,) = await doctor.browsers(start=True)
    assert (gone.state, gone.mend) == ("fail", "correct or unset TB_BROWSER")
    monkeypatch.setenv("TB_BROWSER", "webkit")
    (none,) = await doctor.browsers(start=True)
    assert (none.state, none.found, "playwright install" in none.mend) == ("fail", "none found", True)


async def test_without_playwright_the_doctor_still_runs() -> None:
    script = (
        "import sys, asyncio; sys.modules['playwright'] = None\n"
        "from cli import doctor\n"
        "for f in [*asyncio.run(doctor.browsers(True)), doctor.packages()]: print(f.state, f.mend)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines() == ["fail pip install 'trafficbuster[runner]'"] * 2


async def test_ports_are_free_ours_or_taken(broker: EmbeddedServer) -> None:
    (free,) = free_ports(1)
    assert (await ports.web_port(free)).found == "free"
    assert (await ports.nats_port(free)).found == "free"

    ours = await ports.nats_port(urlsplit(broker.url).port or 0)
    assert (ours.state, "with JetStream" in ours.found) == ("ok", True)
    async with orchestrator(503) as server:
        assert (await ports.web_port(server.port)).found == "an orchestrator (0.1) answers there"
    async with WebServer(create_shop()) as other:
        taken = await ports.web_port(other.port)
        assert (taken.state, "--port" in taken.mend) == ("warn", True)
        assert "taken by" in taken.found
        assert (await ports.nats_port(other.port)).state == "warn"


async def test_the_server_is_reached_or_not() -> None:
    async with orchestrator(200) as server:
        assert (await doctor.reach(f"{server.url}/")).state == "ok"
    async with orchestrator(503) as server:
        unready = await doctor.reach(server.url)
        assert (unready.state, "no broker" in unready.found) == ("warn", True)
    async with WebServer(create_shop()) as other:
        assert (await doctor.reach(other.url)).state == "fail"
    (free,) = free_ports(1)
    nobody = await doctor.reach(f"http://127.0.0.1:{free}")
    assert (nobody.state, "tb up" in nobody.mend) == ("warn", True)
