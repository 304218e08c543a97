"""A disk that is full while a job runs: what is refused, and whether anything acknowledged is lost.

    python -m tests.campaigns.full_disk [--size 80] [--sessions 2000] [--full 8]

Mounts a small file system in memory (Linux, root) for the broker's streams, and a timer stands in place of
the browser. A job that would not fit is refused in words. While a smaller one runs, a file takes the rest of
the disk for `--full` seconds and goes again: the job must end with every session counted once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from broker_config.embedded_server import EmbeddedServer
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from tests.support.runner_processes import runner_process
from tests.support.waiting import eventually

MB = 1_000_000


@contextmanager
def small_disk(at: Path, size: int) -> Iterator[None]:
    """A file system of `size` MB."""
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * MB}", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(path: Path) -> int:
    """Write until the disk takes no more; bytes written."""
    written = 0
    with path.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        for size in (65536, 4096, 256, 1):
            with contextlib.suppress(OSError):
                while True:
                    written += out.write(b"\0" * size) or 0
    return written


def config(broker: str, disk: Path) -> OrchestratorConfig:
    return OrchestratorConfig(nats=broker, port=0, store_dir=str(disk), anonymous="admin")


async def full_disk(size: int, sessions: int, full: float) -> list[str]:
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="full-disk-") as name:
        directory, disk = Path(name), Path(name) / "disk"
        events: list[str] = []
        with small_disk(disk, size):
            async with (
                EmbeddedServer(disk / "nats", on_event=events.append, max_deaths=100) as broker,
                Orchestrator(
                    OrchestratorConfig(nats=broker.url, port=0, store_dir=str(disk), anonymous="admin")
                ) as orchestrator,
                runner_process(broker.url, directory, "r", "--slots", "8", "--seconds", "0.02"),
                httpx.AsyncClient(base_url=f"{orchestrator.url}/api/v1", timeout=10) as http,
            ):
                await eventually(orchestrator.fleet.platforms, 20, what="the runner is online")

                def job(sessions: int) -> dict[str, Any]:
                    load = {"executor": "shared-sessions", "vus": 16}
                    return {
                        "targets": [{"url": "http://127.0.0.1:1/"}],
                        "sessions": sessions,
                        "load": load,
                        "retries": 5,
                    }

                refused = await http.post("/jobs", json=job(size * MB // 1000))
                print(f"too large: {refused.status_code} {refused.json().get('detail')}")
                if refused.status_code != 507:
                    wrong.append(f"a job that does not fit was answered {refused.status_code}")
                taken = await http.post("/jobs", json=job(sessions))
                id = taken.raise_for_status().json()["job"]["id"]

                async def ended() -> int:
                    return int((await http.get(f"/jobs/{id}")).json()["progress"]["counts"]["ok"])

                async def some() -> bool:
                    return await ended() > 100

                await eventually(some, 30, what="the job runs")
                filler = disk / "filler"
                written = await asyncio.to_thread(fill, filler)
                await asyncio.sleep(full)
                print(f"full with {written // MB} MB for {full:g} s at {await ended()} sessions")
                late = await http.post("/jobs", json=job(10))
                print(f"while full: {late.status_code} {late.json().get('detail')}")
                if late.status_code != 507:
                    wrong.append(f"a job on a full disk was answered {late.status_code}")
                filler.unlink()
                freed = time.monotonic()
                before = await ended()

                async def more() -> bool:
                    return await ended() > before

                await eventually(more, 60, what="progress after the disk has room again")
                print(f"goes on {time.monotonic() - freed:.1f} s after the disk has room")

                async def finished() -> Any:
                    view = (await http.get(f"/jobs/{id}")).json()["job"]
                    return view if view["state"] == "finished" else None

                done = await eventually(finished, 120, what="the job is finished")
                audit = (await http.get(f"/jobs/{id}/audit")).json()
                print(f"finished: {done['verdict']} {done['counts']}, audit agrees: {audit['agrees']}")
                if done["counts"]["ok"] != sessions or not audit["agrees"]:
                    wrong.append(f"{done['counts']}, {audit['found']}")
            for line in events:
                print("broker:", line)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--full", type=float, default=8.0)
    args = parser.parse_args()
    if os.name != "posix" or os.geteuid() != 0:
        raise SystemExit("this mounts a file system: it needs root on Linux")
    wrong = asyncio.run(full_disk(args.size, args.sessions, args.full))
    for line in wrong:
        print("WRONG", line)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
