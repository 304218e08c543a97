"""Sessions accounted end to end without a browser, against a bare NATS loop; and the orchestrator's memory.

A real nats-server that flushes every message (`sync_interval: always`), a real orchestrator and a real runner
process with a timer of 0 ms in place of the browser. The bare loop does what a session costs the broker with
nothing around it: publish, pull, publish the result, ack; so many at once as the runner has slots.

With `--signing` it measures instead what it costs that dispatches are signed: a second orchestrator and
runner on a broker of their own do without, and the jobs go to the two in turn.

    uv run python -m tests.benchmarks.accounting [--sizes 1000 10000 100000] [--rounds 3] [--json FILE]
    uv run python -m tests.benchmarks.accounting --signing [--sizes 4000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import httpx
import nats.errors
import psutil
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, RetentionPolicy

from broker_config import connection
from broker_config.embedded_server import EmbeddedServer
from broker_config.keyring import Keyring
from broker_config.signature import Signer, Verifier
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


#: An orchestrator, and the process of its runner.
System: TypeAlias = "tuple[Orchestrator, psutil.Process]"


@asynccontextmanager
async def system(directory: Path, *more: str) -> AsyncIterator[System]:
    """A broker, an orchestrator (with `more` arguments) and a runner that is online."""
    directory.mkdir()
    (port,) = free_ports(1)
    async with EmbeddedServer(directory / "nats") as server:
        arguments = ["--nats", server.url, "--port", str(port), "--name", "o1", *more]
        runner = ["--nats", server.url, "--name", "r1", "--data-dir", str(directory / "r1")]
        async with (
            process(directory / "o.log", "tests.support.orchestrator_process", *arguments) as child,
            process(
                directory / "r.log",
                "tests.support.runner_process",
                *runner,
                *("--slots", str(SLOTS), "--log", "WARNING"),
            ) as runs,
        ):
            it = Orchestrator(f"http://127.0.0.1:{port}", child)
            await eventually(it.offered, 30)
            await it.job(500)
            yield it, runs
            await it.http.aclose()


async def measure_signing(options: argparse.Namespace) -> None:
    ring, payload = Keyring.new(), b"x" * 600
    signer, verifier = Signer(ring.dispatch), Verifier(ring.dispatch_keys)
    headers = signer.headers("job.dispatch.linux-chromium", payload)
    for what, call in (
        ("sign", lambda: signer.headers("job.dispatch.linux-chromium", payload)),
        ("verify", lambda: verifier.verify("job.dispatch.linux-chromium", payload, headers)),
    ):
        best = min(timeit.repeat(call, number=2_000, repeat=5)) / 2_000
        print(f"{what}: {best * 1e6:.1f} µs")
    with tempfile.TemporaryDirectory(prefix="signing-") as name:
        async with (
            system(Path(name) / "signed") as signed,
            system(Path(name) / "unsigned", "--unsigned") as unsigned,
        ):
            for n in options.sizes:
                pairs = [(await _job(signed, n), await _job(unsigned, n)) for _ in range(options.rounds)]
                rate = statistics.median(a.rate / b.rate for a, b in pairs)
                cpu = statistics.median(a.cpu / b.cpu for a, b in pairs)
                for what, side in zip(("signed", "unsigned"), zip(*pairs, strict=True), strict=True):
                    each = 1e6 * statistics.median(one.cpu for one in side) / n
                    print(
                        f"{n} sessions {what}: {statistics.median(one.rate for one in side):.0f}/s, "
                        f"{each:.0f} µs of CPU each in orchestrator and runner"
                    )
                print(f"ratio of throughput {rate:.3f}, of CPU {cpu:.3f} (medians of pairs)")


class Done(NamedTuple):
    rate: float
    #: Of orchestrator and runner, s: what a busy machine changes least.
    cpu: float


async def _job(of: System, sessions: int) -> Done:
    it, runs = of
    before = _cpu(it.child) + _cpu(runs)
    rate = await it.job(sessions)
    return Done(rate, _cpu(it.child) + _cpu(runs) - before)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--signing", action="store_true")
    options = parser.parse_args()
    if options.signing:
        asyncio.run(measure_signing(options))
        return
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
