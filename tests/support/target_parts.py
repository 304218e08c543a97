"""For tests of targets: a DNS server and a site on loopback, and what looks at them."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from orchestrator.bus.jet import Jet
from orchestrator.bus.target_guard import TargetGuard
from orchestrator.bus.target_prover import DnsNames, TargetProver
from orchestrator.bus.target_store import TargetStore
from orchestrator.core.target_rules import Grounds


def target_guard(jet: Jet, prover: TargetProver | None = None, **more: object) -> TargetGuard:
    """One whose tokens are `token-1`, `token-2` …; loopback takes proof unless `grounds` says otherwise."""
    made = iter(range(1, 1000))
    store = TargetStore(jet, clock=time.time, new_token=lambda: f"token-{next(made)}")
    given = {"grounds": Grounds(loopback_free=False), "clock": time.time, **more}
    return TargetGuard(store, prover or TargetProver(allow_loopback=True), **given)  # type: ignore[arg-type]


class DnsServer:
    """Answers by `answers`: `(name, type)` to a list of answers, of which each question takes the first and
    leaves it if it is the only one. What it is asked stands in `asked`."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[list[str]]] = {}
        self.asked: list[tuple[str, str]] = []
        #: Says nothing.
        self.silent = False
        self.port = 0

    def put(self, name: str, kind: str, *answers: list[str]) -> None:
        self.answers[name, kind] = list(answers)

    def names(self) -> DnsNames:
        return DnsNames(["127.0.0.1"], self.port)

    def answer(self, data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return None
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        left = self.answers.get((name, kind), [[]])
        found = left.pop(0) if len(left) > 1 else left[0]
        if found:
            reply.answer.append(dns.rrset.from_text(question.name, 1, "IN", kind, *found))
        return reply.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (reply := self._server.answer(data)) is not None:
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    server = DnsServer()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), local_addr=("127.0.0.1", 0))
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


class ProvingSite:
    """Answers each path by `pages`: status, head lines and body, or a coroutine that writes. Heads of what it
    was asked stand in `heads`."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, str, bytes] | Reply] = {}
        self.heads: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            page = self.pages.get(head.split(" ")[1], (404, "", b"no"))
            if isinstance(page, tuple):
                status, lines, body = page
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
                )
                await writer.drain()
            else:
                await page(writer)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def proving_site(
    tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[ProvingSite]:
    site = ProvingSite()
    server = await asyncio.start_server(site.serve, address, port, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
