"""Two orchestrators, a runner whose sessions never rest, and their site: to try the kill switch."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.counting_site import CountingSite, counting_site
from tests.support.ports import free_ports
from tests.support.runner_processes import RunnerProcess, runner_process
from tests.support.waiting import eventually

#: What a session of `TrafficExecutor` asks the site for.
KINDS = {"fast", "slow", "stream", "download", "upload", "ws"}


class OrchestratorProcess:
    def __init__(self, process: asyncio.subprocess.Process, name: str, port: int, log: Path) -> None:
        self.process = process
        self.name = name
        self.log = log
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=20)

    async def is_ready(self) -> bool:
        try:
            return (await self.http.get("/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def conductor(self) -> str:
        return str((await self.http.get("/health")).json()["conductor"])

    async def submit(self, url: str, sessions: int, *, project: str = "default") -> str:
        load = {"executor": "shared-sessions", "vus": sessions}
        document = {"targets": [{"url": url}], "sessions": sessions, "load": load}
        answer = await self.http.post("/jobs", json=document, params={"project": project})
        answer.raise_for_status()
        return str(answer.json()["job"]["id"])

    async def kill(self, **order: Any) -> float:
        """The moment before the command; it holds when this returns."""
        began = time.monotonic()
        (await self.http.post("/kills", json=order)).raise_for_status()
        return began

    async def finished(self, job: str, within: float = 15.0) -> dict[str, Any]:
        async def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = (await self.http.get(f"/jobs/{job}")).json()["job"]
            return found if found["state"] == "finished" else None

        return await eventually(ended, within, what=f"{job} finished")


class KillScene:
    def __init__(
        self, url: str, site: CountingSite, one: OrchestratorProcess, two: OrchestratorProcess
    ) -> None:
        self.url = url
        self.site = site
        self.conducts, self.other = one, two
        self.runner: RunnerProcess

    async def busy(self, name: str, sessions: int, within: float = 10.0) -> None:
        """Wait until all sessions of a job do all that they can do at the site."""

        def all_kinds() -> bool:
            seen = self.site.seen[name]
            # The tunnel is seen as a second `ws`.
            return all(seen[kind] >= sessions for kind in KINDS) and seen["ws"] >= 2 * sessions

        await eventually(all_kinds, within, what=f"traffic of every kind of {name}")

    async def silent(self, name: str, quiet: float = 1.5, within: float = 20.0) -> float:
        """Wait until the site has heard and sent nothing for `quiet` seconds; the last moment when it did."""

        def is_quiet() -> bool:
            return time.monotonic() - self.site.last[name] > quiet

        await eventually(is_quiet, within, what=f"{name} is silent")
        assert self.site.open[name] == 0, f"{self.site.open[name]} connections of {name} are still open"
        return self.site.last[name]


@asynccontextmanager
async def orchestrator(url: str, directory: Path, name: str) -> AsyncIterator[OrchestratorProcess]:
    (port,) = free_ports(1)
    log = directory / f"{name}.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.orchestrator_process"),
            *("--nats", url, "--port", str(port), "--name", name),
            stdout=out,
            stderr=out,
        )
    found = OrchestratorProcess(process, name, port, log)
    try:
        await eventually(found.is_ready, 20, what=f"{name} is ready")
        yield found
    finally:
        await found.http.aclose()
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def kill_scene(
    url: str, directory: Path, *, slots: int = 8, stubborn: float = 0.0
) -> AsyncIterator[KillScene]:
    """`conducts` is the one of the two that conducts."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(counting_site())
        one = await stack.enter_async_context(orchestrator(url, directory, "one"))
        await eventually(one.conductor, 10, what="somebody conducts")
        two = await stack.enter_async_context(orchestrator(url, directory, "two"))
        scene = KillScene(url, site, one, two)
        arguments = ("--traffic", "--slots", str(slots), "--stubborn", str(stubborn))
        scene.runner = await stack.enter_async_context(runner_process(url, directory, "r1", *arguments))

        async def offered() -> bool:
            return bool((await one.http.get("/runners/available-platforms")).json()["items"])

        await eventually(offered, 20, what="a runner is online")
        yield scene
