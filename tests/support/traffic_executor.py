"""An executor whose sessions keep all kinds of connections through the real gate busy, until they are told
to end."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from broker_config.messages import Dispatch
from runner.core.egress_policy import EgressPolicy, authorised
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.work.executor import Say
from tests.support.gate_executor import GateExecutor

_KINDS = ("fast", "slow", "stream", "download", "upload", "ws", "tunnel")


class TrafficExecutor(GateExecutor):
    """A session with `/<name>/…` in its URL uses all of the kinds of `CountingSite`, and a tunnel. What is
    cut is tried again at once, as often as it takes; a session that is told to end takes `stubborn` seconds
    for it, in which it goes on trying."""

    def __init__(self, *, stubborn: float = 0.0) -> None:
        super().__init__()
        self._stubborn = stubborn

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        policy = EgressPolicy(
            origins=authorised([dispatch.url]),
            job=dispatch.job,
            session=dispatch.session,
            attempt=dispatch.attempt,
        )
        parts = urlsplit(dispatch.url)
        base = f"http://{parts.netloc}/{parts.path.split('/')[1]}"
        async with self._gate.session(policy, pool) as lease, asyncio.TaskGroup() as group:
            port = urlsplit(lease.proxy_url).port
            assert port is not None
            tasks = [group.create_task(_busy(kind, base, parts.netloc, port)) for kind in _KINDS]
            try:
                await asyncio.Event().wait()
            finally:
                if self._stubborn:
                    await asyncio.sleep(self._stubborn)
                for task in tasks:
                    task.cancel()
        raise AssertionError


async def _busy(kind: str, base: str, host: str, port: int) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await _use(kind, base, host, port)
        await asyncio.sleep(0.02)


async def _use(kind: str, base: str, host: str, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        path = "ws" if kind == "tunnel" else kind
        method = "POST" if kind == "upload" else "GET"
        more = ""
        if kind == "tunnel":
            writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            base = "/" + base.rpartition("/")[2]
        if path == "ws":
            more = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        if kind == "upload":
            more = "Content-Length: 1000000000000\r\n"
        writer.write(f"{method} {base}/{path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
        while not writer.is_closing():
            if kind == "upload":
                writer.write(b"x" * 16_384)
                await writer.drain()
                await asyncio.sleep(0.005)
            elif path == "ws":
                writer.write(b"ping")
                await writer.drain()
                if not await reader.read(65_536):
                    return
                await asyncio.sleep(0.005)
            else:
                data = await reader.read(262_144)
                if not data or kind == "fast":
                    return
    finally:
        writer.transport.abort()
