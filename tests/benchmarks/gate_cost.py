"""What the egress gate costs: bare Playwright through the gate against bare Playwright, in turns.

Both open a fresh context, the page, and close. CPU is that of the whole process tree: Python (with the gate
in it), Playwright's driver, the browser. Then the gate alone: a session's address, a request, a megabyte.

    uv run python -m tests.benchmarks.gate_cost [--rounds 8] [--sessions 24] [--concurrency 4]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import sys
import time
from typing import Any

from playwright.async_api import async_playwright

from broker_config.origin import Origin
from runner.browser.finder import installed
from runner.browser.launch import fenced, launch_options
from runner.core.egress_policy import EgressPolicy
from runner.gate.browser_side import context_proxy
from runner.gate.gate import Gate
from tests.benchmarks.session_cost import tree_cpu
from tests.support.site import open_site

KINDS = ("bare", "gate")


async def work(kind: str, url: str, concurrency: int) -> None:
    """A worker: for each line on stdin, that many sessions; then a line on stdout."""
    found = installed(["chromium"])[0]
    policy = EgressPolicy(origins=frozenset({Origin.of(url)}), product="TrafficBuster/0.1", tag="(job=bench)")
    async with async_playwright() as playwright, Gate() as gate, gate.session(EgressPolicy()) as wall:
        launch = launch_options(found, "--gate-cost", "", 30)
        if kind == "gate":
            launch = fenced(launch, found.browser, wall)
        browser = await playwright.chromium.launch(**launch)

        async def visit(options: dict[str, Any]) -> None:
            context = await browser.new_context(**options)
            page = await context.new_page()
            response = await page.goto(url, wait_until="load")
            if response is None or not response.ok:
                raise SystemExit("a session failed")
            await page.evaluate("scrollTo(0, 1e6); new Promise(done => setTimeout(done, 100))")
            await context.close()

        async def slot(todo: Any) -> None:
            for _ in todo:
                if kind == "gate":
                    async with gate.session(policy) as lease:
                        await visit({"proxy": context_proxy(lease)})
                else:
                    await visit({})

        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            todo = iter(range(int(line)))
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(slot(todo))
            print(f"done {time.process_time()}", flush=True)
        await browser.close()


async def paired(url: str, rounds: int, sessions: int, concurrency: int) -> dict[str, Any]:
    workers = {}
    for kind in KINDS:
        workers[kind] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.benchmarks.gate_cost",
            f"--worker={kind}",
            f"--url={url}",
            f"--concurrency={concurrency}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    taken: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    own = dict.fromkeys(KINDS, 0.0)
    try:
        for worker in workers.values():
            await _line(worker, "ready")
        for number in range(rounds + 1):  # the first warms up
            for kind in sorted(KINDS, reverse=bool(number % 2)):
                worker = workers[kind]
                cpu, began = tree_cpu(worker.pid), time.monotonic()
                worker.stdin.write(f"{sessions}\n".encode())  # type: ignore[union-attr]
                python = float(await _line(worker, "done"))
                wall = time.monotonic() - began
                if number:
                    spent = tree_cpu(worker.pid) - cpu
                    taken[kind].append((spent / sessions, (python - own[kind]) / sessions, sessions / wall))
                own[kind] = python
    finally:
        for worker in workers.values():
            worker.stdin.close()  # type: ignore[union-attr]
            await worker.wait()
    ratios = [g[0] / b[0] for g, b in zip(taken["gate"], taken["bare"], strict=True)]
    extra = [g[1] - b[1] for g, b in zip(taken["gate"], taken["bare"], strict=True)]
    return {
        "cpu_s_per_session": {k: round(statistics.median(t[0] for t in taken[k]), 4) for k in KINDS},
        "sessions_per_s": {k: round(statistics.median(t[2] for t in taken[k]), 2) for k in KINDS},
        "cpu_ratio": round(statistics.median(ratios), 3),
        "cpu_ratios": [round(r, 3) for r in ratios],
        "gate_cpu_ms_per_session": round(1000 * statistics.median(extra), 2),
    }


async def alone() -> dict[str, float]:
    """The gate by itself; site and asker share the process, and a direct run is taken off."""
    body = bytes(1_000_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                part = body if b"/large" in head else b"ok"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(part) + part)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def ask(port: int, prefix: str, host: str, path: str, times: int) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        head = f"GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\n".encode()
        head += b"".join(b"X-Header-%d: %s\r\n" % (n, b"v" * 40) for n in range(12)) + b"\r\n"
        began = time.process_time()
        for _ in range(times):
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.split(b": ")[1]))
        spent = time.process_time() - began
        writer.close()
        return spent / times

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host = f"127.0.0.1:{port}"
    policy = EgressPolicy(origins=frozenset({Origin.of(f"http://{host}")}), product="P/1", tag="(x)")
    out = {}
    async with Gate() as gate:
        began = time.process_time()
        for _ in range(500):
            async with gate.session(policy):
                pass
        out["session_us"] = (time.process_time() - began) / 500 * 1e6
        async with gate.session(policy) as lease:
            gate_port = int(lease.proxy_url.rpartition(":")[2])
            for name, path, times in (("request_us", "/small", 3000), ("megabyte_us", "/large", 100)):
                direct = await ask(port, "", host, path, times)
                through = await ask(gate_port, f"http://{host}", host, path, times)
                out[name] = (through - direct) * 1e6
    server.close()
    return {k: round(v, 1) for k, v in out.items()}


async def _line(worker: asyncio.subprocess.Process, expected: str) -> str:
    line = (await worker.stdout.readline()).decode().split()  # type: ignore[union-attr]
    if not line or line[0] != expected:
        raise SystemExit(f"a worker ended: {line!r}")
    return line[-1]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--path", default="/rich")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        await work(options.worker, options.url, options.concurrency)
        os._exit(0)
    # Orphaned grandchildren come to us, not to init.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    result: dict[str, Any] = {"alone": await alone()}
    async with open_site() as site:
        result |= await paired(site.url + options.path, options.rounds, options.sessions, options.concurrency)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
