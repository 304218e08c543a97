"""Fan-out: one job, many WebSocket clients, some of them stalled; against a bare socket server.

    python -m tests.benchmarks.fanout [--clients 2000] [--rate 10] [--seconds 10] [--rounds 2] [--json FILE]

Both servers are a process of their own, take the same messages from the same broker and send the same frames
to the same clients; the bare one only writes each to all connections. Clients and publisher share this
process. Latency is from publish to the client having read the whole message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
from nats.aio.client import Client

from broker_config import codec
from broker_config.api import Progress
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import Counts, GroupSummary, JobProgress, Summary
from broker_config.subjects import job_progress
from orchestrator.web.packet import Packet
from tests.support.waiting import eventually
from tests.support.web_parts import stage

JOB = "fanout"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_SUBSCRIBE = json.dumps({"type": "subscribe", "jobs": [JOB]}).encode()
SUBSCRIBE = bytes([0x81, 0x80 | len(_SUBSCRIBE)]) + bytes(4) + _SUBSCRIBE


def message(seq: int) -> JobProgress:
    """Of the size that a job of six targets has."""
    one = Summary(count=500, min=1.5, max=900.5, mean=200.25, p50=180.5, p75=260.5, p90=400, p95=500, p99=800)
    names = ("ttfb", "dcl", "load", "fcp", "lcp", "duration")
    return JobProgress(
        job=JOB,
        seq=seq,
        at=time.time(),
        state="running",
        counts=Counts(planned=1000, ok=500, failed=3, running=8),
        metrics=dict.fromkeys(names, one),
        targets={
            f"target {n}": GroupSummary(planned=100, ok=50, load_p50=1.5, load_p95=2.5) for n in range(6)
        },
    )


# --- servers ---------------------------------------------------------------------------------------------


async def serve_ours(url: str) -> None:
    async with connected(url, name="ours") as nc, stage(nc) as web:
        web.jobs.add(JOB)
        await _until_told(web.server.port)


async def serve_bare(url: str) -> None:
    transports: list[asyncio.Transport] = []

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            self.greeted = False

        def data_received(self, data: bytes) -> None:
            if not self.greeted:
                self.greeted = True
                self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            else:
                self.transport.write(Packet(Progress(job=JOB, seq=0, progress=message(0))).frame)
                transports.append(self.transport)

    async def take(msg: Any) -> None:
        p = codec.decode(msg.data, JobProgress)
        frame = Packet(Progress(job=p.job, seq=p.seq, progress=p)).frame
        for transport in transports:
            transport.write(frame)

    async with connected(url, name="bare") as nc:
        await nc.subscribe(job_progress(JOB), cb=take)
        server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0, backlog=2048)
        await _until_told(server.sockets[0].getsockname()[1])
        for transport in transports:
            transport.abort()
        server.close()


async def _until_told(port: int) -> None:
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


@asynccontextmanager
async def server(kind: str, url: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.fanout", "--serve", kind, "--nats", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            port = int(await process.stdout.readline())
        yield port, psutil.Process(process.pid)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


# --- clients ---------------------------------------------------------------------------------------------


class _At(msgspec.Struct):
    at: float


class _Seen(msgspec.Struct):
    seq: int
    progress: _At


_decode = msgspec.json.Decoder(_Seen).decode


class Reader(asyncio.Protocol):
    """Notes the latency of each message in `latencies`, s."""

    def __init__(self, latencies: list[float], ready: asyncio.Semaphore, stalls: bool) -> None:
        self.latencies = latencies
        self.ready = ready
        self.stalls = stalls
        self.last = -1
        self.lost = False
        self._data = bytearray()
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.stalls:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport.write(HANDSHAKE)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._greeted:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            del self._data[: end + 4]
            self._greeted = True
            self.transport.write(SUBSCRIBE)
        while (frame := self._frame()) is not None:
            seen = _decode(frame)
            if self.last < 0:
                self.ready.release()
                if self.stalls:
                    self.transport.pause_reading()
            elif seen.seq > 0:
                self.latencies.append(time.time() - seen.progress.at)
            self.last = seen.seq

    def _frame(self) -> bytes | None:
        if len(self._data) < 4:
            return None
        size, start = self._data[1], 2
        if size == 126:
            size, start = int.from_bytes(self._data[2:4], "big"), 4
        if len(self._data) < start + size:
            return None
        frame = bytes(self._data[start : start + size])
        del self._data[: start + size]
        return frame


async def measure(kind: str, url: str, nc: Client, options: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    ready = asyncio.Semaphore(0)
    stalled = options.clients // 100
    async with server(kind, url) as (port, process):
        empty = process.memory_info().rss
        readers = []
        for n in range(options.clients):
            _, reader = await loop.create_connection(
                lambda stalls=n < stalled: Reader(latencies, ready, stalls), "127.0.0.1", port
            )
            readers.append(reader)
        async with asyncio.timeout(60):
            for _ in readers:
                await ready.acquire()
        cpu = sum(process.cpu_times()[:2])
        total = int(options.rate * options.seconds)
        start = loop.time()
        for seq in range(1, total + 1):
            await asyncio.sleep(max(0.0, start + seq / options.rate - loop.time()))
            await nc.publish(job_progress(JOB), codec.encode(message(seq)))
        await eventually(lambda: all(r.last >= total for r in readers if not r.stalls), 30)
        result = {
            "p50_ms": statistics.quantiles(latencies, n=100)[49] * 1e3,
            "p99_ms": statistics.quantiles(latencies, n=100)[98] * 1e3,
            "max_ms": max(latencies) * 1e3,
            "messages": len(latencies),
            "cpu_s": sum(process.cpu_times()[:2]) - cpu,
            "rss_mb": process.memory_info().rss / 1e6,
            "rss_grown_mb": (process.memory_info().rss - empty) / 1e6,
            "lost_connections": sum(r.lost for r in readers if not r.stalls),
        }
        for reader in readers:
            reader.transport.abort()
    return result


async def main(options: argparse.Namespace) -> None:
    results: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            EmbeddedServer(Path(folder), sync_always=False) as broker,
            connected(broker.url, name="publisher") as nc,
        ):
            for n in range(options.rounds):
                for kind in ("ours", "bare") if n % 2 == 0 else ("bare", "ours"):
                    results[kind].append(await measure(kind, broker.url, nc, options))
    middle = {
        kind: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        for kind, rounds in results.items()
    }
    report = {
        "clients": options.clients,
        "stalled": options.clients // 100,
        "rate": options.rate,
        "message_bytes": len(codec.encode(message(1))),
        "median": middle,
        "rounds": results,
    }
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))
    print(
        f"{options.clients} clients, 1 % stalled, {options.rate:g} messages/s of {report['message_bytes']} B"
    )
    print(f"{'':20}{'gateway':>12}{'bare':>12}{'ratio':>8}")
    for key in middle["ours"]:
        ours, bare = middle["ours"][key], middle["bare"][key]
        print(f"{key:20}{ours:12.1f}{bare:12.1f}{ours / bare if bare else 0:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--serve", choices=("ours", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--nats", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run((serve_ours if given.serve == "ours" else serve_bare)(given.nats))
    else:
        asyncio.run(main(given))
