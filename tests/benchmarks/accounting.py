"""Sessions accounted end to end without a browser, against a bare NATS loop; and the orchestrator's memory.

A real nats-server that flushes every message (`sync_interval: always`), a real orchestrator and a real runner
process with a timer of 0 ms in place of the browser. The bare loop does what a session costs the broker with
nothing around it: publish, pull, publish the result, ack; so many at once as the runner has slots.

    uv run python -m tests.benchmarks.accounting [--sizes 1000 10000 100000] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nats.errors
import psutil
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, RetentionPolicy

from broker_config import connection
from broker_config.embedded_server import EmbeddedServer
from tests.support.ports import free_ports
from tests.support.waiting import eventually

SLOTS = 128


@asynccontextmanager
async def process(log: Path, module: str, *arguments: str) -> AsyncIterator[psutil.Process]:
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, stdout=out, stderr=out
        )
    try:
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        await child.wait()


class Orchestrator:
    def __init__(self, url: str, child: psutil.Process) -> None:
        self.http = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60)
        self.child = child
        self.peak = 0

    async def offered(self) -> bool:
        try:
            return bool((await self.http.get("/runners/available-platforms")).json()["items"])
        except httpx.HTTPError:
            return False

    async def job(self, sessions: int) -> float:
        """Sessions a second, from the submit to the finished job."""
        document = {
            "targets": [{"url": "http://127.0.0.1:1/"}],
            "sessions": sessions,
            "load": {"executor": "shared-sessions", "vus": 2 * SLOTS},
        }
        began = time.monotonic()
        answer = await self.http.post("/jobs", json=document)
        answer.raise_for_status()
        job = answer.json()["job"]["id"]

        async def ended() -> Any:
            self.peak = max(self.peak, self.child.memory_info().rss)
            view = (await self.http.get(f"/jobs/{job}")).json()["job"]
            return view if view["state"] == "finished" else None

        done = await eventually(ended, 600, interval=0.1)
        took = time.monotonic() - began
        if done["counts"]["ok"] != sessions:
            raise SystemExit(f"not all ok: {done['counts']}")
        return sessions / took


async def bare(nc: Client, sessions: int, slots: int) -> float:
    """Sessions a second of a bare loop over two streams of its own."""
    js = nc.jetstream()
    await js.add_stream(name="WORK", subjects=["work.>"], retention=RetentionPolicy.WORK_QUEUE)
    await js.add_stream(name="DONE", subjects=["done.>"])
    await js.add_consumer("WORK", ConsumerConfig(durable_name="c", max_ack_pending=20_000, max_waiting=2_000))
    payload, result = b"x" * 320, b"y" * 420
    left = iter(range(sessions))
    pulled = 0
    began = ended = time.monotonic()

    async def publish() -> None:
        for n in left:
            await js.publish(f"work.{n % 7}", payload)

    async def slot() -> None:
        nonlocal pulled, ended
        ask = json.dumps({"batch": 1, "expires": 1_000_000_000}).encode()
        inbox = nc.new_inbox()
        sub = await nc.subscribe(inbox)
        while pulled < sessions:
            await nc.publish("$JS.API.CONSUMER.MSG.NEXT.WORK.c", ask, reply=inbox)
            try:
                msg = await sub.next_msg(timeout=2)
            except nats.errors.TimeoutError:
                continue
            if (msg.headers or {}).get("Status"):
                continue
            pulled += 1
            await js.publish("done.job.runner", result)
            await nc.publish(msg.reply, b"+ACK")
            ended = time.monotonic()

    async with asyncio.TaskGroup() as group:
        for _ in range(slots):
            group.create_task(publish())
            group.create_task(slot())
    took = ended - began
    await js.delete_stream("WORK")
    await js.delete_stream("DONE")
    return sessions / took


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    rates: dict[int, list[float]] = {n: [] for n in options.sizes}
    peaks: dict[int, int] = {}
    bares: list[float] = []
    with tempfile.TemporaryDirectory(prefix="accounting-") as name:
        directory = Path(name)
        async with EmbeddedServer(directory / "nats") as server:
            (port,) = free_ports(1)
            arguments = ["--nats", server.url, "--port", str(port), "--name", "o1"]
            runner = ["--nats", server.url, "--name", "r1", "--data-dir", str(directory / "r1")]
            async with (
                process(directory / "o.log", "tests.support.orchestrator_process", *arguments) as child,
                process(
                    directory / "r.log",
                    "tests.support.runner_process",
                    *runner,
                    *("--slots", str(SLOTS), "--log", "WARNING"),
                ),
                connection.connected(server.url, name="benchmark") as nc,
            ):
                it = Orchestrator(f"http://127.0.0.1:{port}", child)
                await eventually(it.offered, 30)
                await it.job(500)
                for _ in range(options.rounds):
                    bares.append(await bare(nc, 4_000, SLOTS))
                    for n in options.sizes:
                        if n > 20_000 and rates[n]:
                            continue  # the large ones once: they are long enough to be steady
                        it.peak = 0
                        rates[n].append(await it.job(n))
                        peaks[n] = max(peaks.get(n, 0), it.peak)
                await it.http.aclose()
    return {
        "slots": SLOTS,
        "bare_per_s": round(statistics.median(bares)),
        "sizes": {
            n: {
                "sessions_per_s": round(statistics.median(r)),
                "ratio_to_bare": round(statistics.median(r) / statistics.median(bares), 3),
                "orchestrator_peak_rss_mb": round(peaks[n] / 2**20),
            }
            for n, r in rates.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure(options))
    print(f"bare NATS loop: {result['bare_per_s']} sessions/s, {SLOTS} at once")
    print(f"{'sessions':>9} {'per s':>7} {'ratio':>6} {'peak MB':>8}")
    for n, r in result["sizes"].items():
        peak = r["orchestrator_peak_rss_mb"]
        print(f"{n:9} {r['sessions_per_s']:7} {r['ratio_to_bare']:6} {peak:8}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
