"""This project's own way: `tb up`, and a job that takes the flow's steps."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_ports
from tests.support.waiting import eventually

from .peer import QUIET
from .tree import Tree, tree

NAME = "trafficbuster"
STEPS = [{"scroll": 600}, {"scroll": 600}, {"click": {"role": "link", "name": "Next"}}]


class Own:
    """`start` begins so many sessions, `finish` waits for the last one."""

    def __init__(self, of: Tree, http: httpx.AsyncClient) -> None:
        self.tree = of
        self._http = http
        self._job = ""

    async def ready(self) -> None:
        async def offered() -> bool:
            if not self.tree.runs:
                raise SystemExit(f"tb up has ended:\n{self.tree.words}")
            try:
                answer = await self._http.get("/runners/available-platforms")
            except httpx.HTTPError:
                return False
            return bool(answer.json()["items"])

        await eventually(offered, 60, what="a runner is online", interval=0.1)

    async def start(self, url: str, sessions: int, at_once: int) -> None:
        document: dict[str, Any] = {
            "targets": [{"url": url}],
            "sessions": sessions,
            "load": {"executor": "shared-sessions", "vus": at_once},
            "journey": {"steps": STEPS},
        }
        answer = await self._http.post("/jobs", json=document)
        if answer.is_error:
            raise SystemExit(f"the job was refused: {answer.text}")
        self._job = answer.json()["job"]["id"]

    async def finish(self) -> str:
        """What went wrong, or ""."""

        async def over() -> Any:
            job = (await self._http.get(f"/jobs/{self._job}")).json()["job"]
            return job if job["state"] == "finished" else None

        job = await eventually(over, 120, what="the job is finished", interval=0.3)
        return "" if job["counts"]["ok"] == job["counts"]["planned"] else f"counts {job['counts']}"


@asynccontextmanager
async def up(directory: Path, slots: int) -> AsyncIterator[Own]:
    """The whole system, in a process tree of its own."""
    web, nats = free_ports(2)
    directory.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "cli.tb", "--log-level", "warning", "up", "--browser", "chromium"),
        *("--anonymous", "admin"),
        *("--data-dir", str(directory / "data"), "--slots", str(slots)),
        *("--port", str(web), "--nats-port", str(nats)),
    ]
    api = f"http://127.0.0.1:{web}/api/v1"
    async with (
        tree(command, directory / "up.log", QUIET) as whole,
        httpx.AsyncClient(base_url=api, timeout=30, trust_env=False) as http,
    ):
        own = Own(whole, http)
        await own.ready()
        yield own
