"""Names: looked up by the gate, once a session, at the job's servers; and where they must not lead."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from broker_config.origin import Origin
from runner.core.egress_policy import EgressPolicy
from runner.core.egress_pool import EgressPool
from runner.gate.dns import NameNotResolved, lookup
from runner.gate.gate import Gate
from tests.support.proxies import upstream
from tests.support.site import Site, open_site


class NameServer(asyncio.DatagramProtocol):
    """Answers by `answers`, one after the other, the last for good; None is silence. `long` answers come by
    TCP only."""

    def __init__(self, *answers: str | None, long: bool = False) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.long = long
        self.port = 0

    @property
    def server(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        answer = self.answer(data, truncated=self.long)
        if answer is not None:
            self.transport.sendto(b"\0\0" + answer[2:], addr)  # type: ignore[attr-defined]  # a stray one
            self.transport.sendto(answer, addr)  # type: ignore[attr-defined]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        answer = self.answer(await reader.readexactly(size)) or b""
        writer.write(struct.pack(">H", len(answer)) + answer)
        writer.close()

    def answer(self, query: bytes, *, truncated: bool = False) -> bytes | None:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind = int.from_bytes(query[at + 1 : at + 3], "big")
        question = query[12 : at + 5]
        if not truncated:
            self.asked.append((".".join(labels), kind))
        if truncated:
            return query[:2] + b"\x83\x80" + struct.pack(">HHHH", 1, 0, 0, 0) + question
        if kind != 1:
            return query[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, 0, 0, 0) + question
        address = self.answers[0]
        if not truncated and len(self.answers) > 1:
            self.answers.pop(0)
        if address is None:
            return None
        if address == "NXDOMAIN":
            return query[:2] + b"\x81\x83" + struct.pack(">HHHH", 1, 0, 0, 0) + question
        alias = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 0, 4) + b"\x01x\xc0\x0c"
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        return query[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, 2, 0, 0) + question + alias + record


@asynccontextmanager
async def named(*answers: str | None, long: bool = False) -> AsyncIterator[NameServer]:
    server = NameServer(*answers, long=long)
    tcp = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = tcp.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        transport.close()
        tcp.close()


def policy(site: Site, server: NameServer, *, private: bool = True) -> EgressPolicy:
    return EgressPolicy(
        origins=frozenset({Origin("http", "shop.example", Origin.of(site.url).port)}),
        dns=(server.server,),
        private_hosts=frozenset({"shop.example"} if private else ()),
    )


def url(site: Site) -> str:
    return f"http://shop.example:{Origin.of(site.url).port}/"


@pytest.mark.parametrize("long", [False, True])
async def test_a_name_is_looked_up_at_the_given_server(long: bool) -> None:
    async with named("192.0.2.1", long=long) as server:
        assert [str(a) for a in await lookup("shop.example", [server.server])] == ["192.0.2.1"]
        assert sorted(server.asked) == [("shop.example", 1), ("shop.example", 28)]


async def test_the_next_server_is_asked_when_one_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        dead = ("127.0.0.1", taken.getsockname()[1])
    async with named("192.0.2.1") as server:
        assert [str(a) for a in await lookup("shop.example", [dead, server.server])] == ["192.0.2.1"]
    with pytest.raises(NameNotResolved, match=r"shop\.example cannot be looked up"):
        await lookup("shop.example", [dead])


async def test_a_name_that_is_not_there_is_the_answer() -> None:
    async with named("NXDOMAIN") as one, named("192.0.2.1") as two:
        with pytest.raises(NameNotResolved, match="has no address"):
            await lookup("shop.example", [one.server, two.server])
        assert two.asked == []


async def test_a_name_keeps_its_address_for_the_session() -> None:
    async with open_site() as site, named("127.0.0.1", "127.0.0.77") as server, Gate() as gate:
        async with gate.session(policy(site, server)) as lease:
            for _ in range(3):
                # A connection each.
                async with httpx.AsyncClient(proxy=lease.proxy_url) as client:
                    assert (await client.get(url(site))).status_code == 200
        assert len(server.asked) == 2, "A and AAAA, once"
        assert site.hits["/"] == 3


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
async def test_a_public_name_must_not_lead_inside(address: str) -> None:
    async with open_site() as site, named(address) as server, Gate() as gate:
        async with gate.session(policy(site, server, private=False)) as lease:
            async with httpx.AsyncClient(proxy=lease.proxy_url) as client:
                answer = await client.get(url(site))
            assert answer.status_code == 403
            assert "not a public address" in answer.text
            assert set(lease.report().refused) == {"private_address"}
        assert not site.requests


async def test_the_other_ports_of_a_private_host_are_none_of_the_jobs() -> None:
    async with open_site() as site, open_site() as other, named("127.0.0.1") as server, Gate() as gate:
        own = policy(site, server)
        loose = msgspec.structs.replace(own, third_party="all")
        async with gate.session(loose) as lease, httpx.AsyncClient(proxy=lease.proxy_url) as client:
            assert (await client.get(url(site))).status_code == 200
            assert (await client.get(url(other))).status_code == 403
        assert not other.requests


async def test_foreign_names_are_not_even_looked_up() -> None:
    async with open_site() as site, named("127.0.0.1") as server, Gate() as gate:
        async with (
            gate.session(policy(site, server)) as lease,
            httpx.AsyncClient(proxy=lease.proxy_url) as client,
        ):
            assert (await client.get("http://secret.elsewhere.example/")).status_code == 403
        assert server.asked == []


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_resolves_unless_the_job_brings_servers(scheme: str) -> None:
    async with open_site() as site, named("127.0.0.1") as server, Gate() as gate:
        port = Origin.of(site.url).port
        async with upstream(scheme, names={"shop.example": "127.0.0.1"}) as up:  # type: ignore[arg-type]
            own = policy(site, server)
            for dns, asked in (((), f"shop.example:{port}"), (own.dns, f"127.0.0.1:{port}")):
                one = EgressPolicy(origins=own.origins, private_hosts=own.private_hosts, dns=dns)
                async with (
                    gate.session(one, EgressPool([up.proxy])) as lease,
                    httpx.AsyncClient(proxy=lease.proxy_url) as client,
                ):
                    assert (await client.get(url(site))).status_code == 200
                assert up.asked[-1] == asked
        assert len(server.asked) == 2
