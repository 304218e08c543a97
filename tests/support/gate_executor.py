"""An executor with the egress gate, and a request for the session's page in place of a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from broker_config.grant import Grant
from broker_config.messages import Dispatch, ErrorInfo, PlatformOffer
from runner.core.egress_policy import authorised
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.core.session_policy import session_policy
from runner.gate.event import EgressEvent, OnEvent, log_event
from runner.gate.gate import Gate
from runner.work.executor import Say


class GateExecutor:
    """Asks for each session's URL `requests` times, on a connection of its own each time; between them it
    waits for `go`."""

    def __init__(self, *, requests: int = 1) -> None:
        self.on_egress: OnEvent = log_event
        self.contact = ""
        self.platforms: Sequence[PlatformOffer] = [PlatformOffer(platform="linux-chromium")]
        self.pools: list[EgressPool | None] = []
        self.go = asyncio.Event()
        self.go.set()
        self._requests = requests
        self._gate: Gate
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        self._gate = await self._stack.enter_async_context(Gate(on_event=self._tell))

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        self.pools.append(pool)
        policy = session_policy(dispatch, "0.1", self.contact)
        async with self._gate.session(policy, pool) as lease:
            for _ in range(self._requests):
                status = await _fetch(lease.proxy_url, dispatch.url)
                say("step", f"answered {status}")
                await self.go.wait()
            why, seen = lease.explain(dispatch.url), lease.report()
        if status != 200:
            error = why or ErrorInfo(kind="http_status", detail=str(status))
            return Outcome(status="failed", error=error, upstreams=seen.upstreams)
        return Outcome(status="ok", upstreams=seen.upstreams)

    def cut(self, job: str) -> None:
        self._gate.cut(job)

    def renew(self, grant: Grant) -> None:
        self._gate.renew(grant.job, authorised(grant.origins), grant.expires_at)

    def hold(self, held: bool) -> None:
        self._gate.hold(held)

    async def close(self) -> None:
        await self._stack.aclose()

    def _tell(self, event: EgressEvent) -> None:
        self.on_egress(event)


async def _fetch(proxy_url: str, url: str) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(proxy_url).port)
    try:
        writer.write(f"GET {url} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1])
