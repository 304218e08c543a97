"""The whole system against a bare Playwright loop, and how soon a submitted job starts.

`tb up` (broker, orchestrator, runner, browser: the whole process tree is counted) and a bare loop do the same
sessions on the same site at the same concurrency, in turn, so that the machine's moods hit both.
The site runs outside of both trees.

    uv run python -m tests.benchmarks.main_job [--rounds 7] [--sessions 32] [--concurrency 4] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from broker_config import connection
from broker_config.subjects import JOB_LOGS, JOB_PROGRESSES
from cli.demo_shop import create_shop
from orchestrator.core.plan import session_seed
from orchestrator.web.server import WebServer
from tests.benchmarks.session_cost import Bare, tree_cpu
from tests.support.ports import free_ports
from tests.support.waiting import eventually

SEED = 7


class System:
    """`tb up` in a process of its own; one job a round."""

    def __init__(self, process: asyncio.subprocess.Process, web: str, nats: str, target: str) -> None:
        self.pid = process.pid
        self.web = web
        self.nats = nats
        self._target = target
        self.http = httpx.AsyncClient(base_url=f"{web}/api/v1", timeout=30)
        self.progress: Any = None

    async def ready(self) -> None:
        async def offered() -> bool:
            try:
                answer = await self.http.get("/runners/available-platforms")
            except httpx.HTTPError:
                return False
            return bool(answer.json()["items"])

        await eventually(offered, 60, what="a runner online")

    async def submit(self, sessions: int, concurrency: int) -> str:
        document = {
            "targets": [{"url": self._target}],
            "sessions": sessions,
            "load": {"executor": "shared-sessions", "vus": concurrency},
            "seed": SEED,
        }
        answer = await self.http.post("/jobs", json=document)
        answer.raise_for_status()
        return str(answer.json()["job"]["id"])

    async def finished(self, job: str) -> Any:
        """Hears of the end as anyone can: polling would cost the system more than the sessions do."""
        async with asyncio.timeout(300):
            while True:
                progress = json.loads((await self.progress.next_msg(timeout=300)).data)
                if progress["job"] == job and progress["state"] == "finished":
                    return progress

    async def round(self, sessions: int, concurrency: int) -> None:
        done = await self.finished(await self.submit(sessions, concurrency))
        if done["counts"]["ok"] != sessions:
            raise SystemExit(f"sessions failed: {done['counts']}")


@asynccontextmanager
async def system(target: str, slots: int, directory: Path) -> AsyncIterator[System]:
    web, nats = free_ports(2)
    with (directory / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.tb", "up", "--data-dir", str(directory), "--browser", "chromium"),
            *("--anonymous", "admin"),
            *("--port", str(web), "--nats-port", str(nats), "--slots", str(slots)),
            stdout=log,
            stderr=log,
        )
    it = System(process, f"http://127.0.0.1:{web}", f"nats://127.0.0.1:{nats}", target)
    try:
        await it.ready()
        async with connection.connected(it.nats, name="benchmark") as nc:
            it.progress = await nc.subscribe(JOB_PROGRESSES)
            await nc.flush()
            yield it
    finally:
        await it.http.aclose()
        process.terminate()
        await process.wait()


async def bare(url: str, concurrency: int) -> None:
    """A worker: for each line on stdin, that many sessions; then a line on stdout."""
    worker = Bare(url)
    await worker.start()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        todo = iter(range(1, int(line) + 1))

        async def slot(todo: Any = todo) -> None:
            for n in todo:
                await worker.session(session_seed(SEED, n))

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(slot())
        print("done", flush=True)
    os._exit(0)


@asynccontextmanager
async def bare_worker(url: str, concurrency: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.main_job", f"--bare={url}", f"--concurrency={concurrency}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await _line(process, b"ready")
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _line(process: asyncio.subprocess.Process, expected: bytes) -> None:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if line.strip() != expected:
        raise SystemExit(f"the bare worker ended: {line!r}")


async def start_latency(it: System, rounds: int) -> list[float]:
    """Seconds from the submit to the first session's `started`, on an idle fleet."""
    out = []
    async with connection.connected(it.nats, name="benchmark") as nc:
        sub = await nc.subscribe(JOB_LOGS)
        await nc.flush()
        for _ in range(rounds):
            began = time.monotonic()
            job = await it.submit(1, 1)
            while True:
                msg = await sub.next_msg(timeout=30)
                if job.encode() in msg.data and b'"started"' in msg.data:
                    break
            out.append(time.monotonic() - began)
            await it.finished(job)
    return sorted(out)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    samples: dict[str, list[tuple[float, float]]] = {"system": [], "bare": []}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="main-job-")))
        shop = await stack.enter_async_context(WebServer(create_shop(), host="127.0.0.1", port=0))
        target = f"{shop.url}/"
        it = await stack.enter_async_context(system(target, options.concurrency, directory))
        worker = await stack.enter_async_context(bare_worker(target, options.concurrency))

        async def bare_round() -> None:
            assert worker.stdin is not None
            worker.stdin.write(f"{options.sessions}\n".encode())
            await _line(worker, b"done")

        for n in range(options.rounds + 1):  # the first warms up
            for kind in ("system", "bare") if n % 2 else ("bare", "system"):
                pid = it.pid if kind == "system" else worker.pid
                cpu, began = tree_cpu(pid), time.monotonic()
                if kind == "system":
                    await it.round(options.sessions, options.concurrency)
                else:
                    await bare_round()
                wall = time.monotonic() - began
                if n:
                    samples[kind].append(((tree_cpu(pid) - cpu) / options.sessions, options.sessions / wall))
        latency = await start_latency(it, options.latency)
    pairs = list(zip(samples["system"], samples["bare"], strict=True))
    return {
        "rounds": options.rounds,
        "sessions": options.sessions,
        "concurrency": options.concurrency,
        **{
            kind: {
                "cpu_s_per_session": round(statistics.median(c for c, _ in rows), 4),
                "sessions_per_s": round(statistics.median(r for _, r in rows), 3),
            }
            for kind, rows in samples.items()
        },
        "cpu_ratio": round(statistics.median(s[0] / b[0] for s, b in pairs), 3),
        "cpu_ratios": [round(s[0] / b[0], 3) for s, b in pairs],
        "throughput_ratio": round(statistics.median(s[1] / b[1] for s, b in pairs), 3),
        "throughput_ratios": [round(s[1] / b[1], 3) for s, b in pairs],
        "start_latency_ms": {
            "p50": round(1000 * latency[len(latency) // 2], 1),
            "p99": round(1000 * latency[int(len(latency) * 0.99)], 1),
            "n": len(latency),
        },
    }


def table(r: dict[str, Any]) -> str:
    rows = [f"{'':8} {'CPU-s/session':>14} {'sessions/s':>11}"]
    rows += [
        f"{kind:8} {r[kind]['cpu_s_per_session']:14.4f} {r[kind]['sessions_per_s']:11.3f}"
        for kind in ("system", "bare")
    ]
    rows.append(f"{'ratio':8} {r['cpu_ratio']:14.3f} {r['throughput_ratio']:11.3f}   (medians of pairs)")
    late = r["start_latency_ms"]
    rows.append(
        f"submit to first session started: p50 {late['p50']} ms, p99 {late['p99']} ms (n {late['n']})"
    )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--latency", type=int, default=50, help="rounds of the start latency")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        asyncio.run(bare(options.bare, options.concurrency))
        return
    # Orphaned grandchildren come to us, not to init, so that their CPU is counted.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    result = asyncio.run(measure(options))
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
