"""The gate as a forward proxy: real connections, to a site that shows what reaches it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import pytest_asyncio

from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern
from runner.core.egress_policy import EgressPolicy
from runner.gate.gate import Gate
from runner.gate.lease import Lease
from runner.gate.limits import GateLimits
from tests.support.waiting import eventually

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Echo:
    """A site whose `heads` are the requests as they came; `answer` is what it says, `opened` counts
    connections."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.opened = self.open = 0
        self.answer: Callable[[bytes], bytes | None] = lambda head: OK
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                lower = head.lower()
                if b"content-length: " in lower:
                    size = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
                    self.bodies.append(await reader.readexactly(size))
                elif b"transfer-encoding: chunked" in lower:
                    self.bodies.append(await reader.readuntil(b"0\r\n\r\n"))
                answer = self.answer(head)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"101 " in answer[:16]:
                    while data := await reader.read(1000):
                        writer.write(data[::-1])
                if b"connection: close" in answer.lower():
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(handler(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Echo]:
    echo = Echo()
    async with serving(echo.serve) as echo.port:
        yield echo


def allowing(*urls: str, **more: object) -> EgressPolicy:
    return EgressPolicy(origins=frozenset(map(Origin.of, urls)), **more)  # type: ignore[arg-type]


@asynccontextmanager
async def leased(policy: EgressPolicy, limits: GateLimits | None = None) -> AsyncIterator[Lease]:
    async with Gate(limits=limits) as gate, gate.session(policy) as lease:
        yield lease


@asynccontextmanager
async def talking(lease: Lease) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(lease.proxy_url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


async def said(lease: Lease, request: bytes) -> bytes:
    """All that the gate answers to these bytes, to the end of the connection."""
    async with talking(lease) as (reader, writer):
        writer.write(request)
        writer.write_eof()
        return await reader.read()


async def answered(lease: Lease, request: bytes) -> bytes:
    """The first answer, which has a Content-Length."""
    async with talking(lease) as (reader, writer):
        writer.write(request)
        return await one_answer(reader)


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(size)


async def test_the_site_sees_what_a_browser_sends_without_a_proxy(site: Echo) -> None:
    policy = allowing(site.url, product="TrafficBuster/0.1", tag="(job=j)", header="X-TrafficBuster: job=j")
    async with leased(policy) as lease:
        await answered(
            lease,
            f"GET {site.url}/a?b HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nProxy-Connection: keep-alive\r\n"
            "User-Agent: Mozilla/5.0\r\nProxy-Authorization: Basic eDp5\r\nX-Own:  kept \r\n\r\n"
            .encode(),
        )  # fmt: skip
        assert site.heads == [
            f"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: keep-alive\r\n"
            "User-Agent: Mozilla/5.0 TrafficBuster/0.1 (job=j)\r\nX-Own:  kept \r\n"
            "X-TrafficBuster: job=j\r\n\r\n".encode()
        ]
        report = lease.report()
        assert (report.requests, report.connections, report.upstreams) == (1, 1, ["direct"])
        assert report.bytes_up == len(site.heads[0])
        assert report.bytes_down == len(OK)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("User-Agent: M P/1 (job=j)\r\n", b"User-Agent: M P/1 (job=j)"),
        ("User-Agent: M P/1\r\n", b"User-Agent: M P/1 (job=j)"),
        ("", b"User-Agent: P/1 (job=j)"),
    ],
)
async def test_a_request_identifies_itself_once(site: Echo, agent: str, expected: bytes) -> None:
    async with leased(allowing(site.url, product="P/1", tag="(job=j)")) as lease:
        await answered(
            lease, f"GET {site.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n{agent}\r\n".encode()
        )
    assert [line for line in site.heads[0].split(b"\r\n") if line.startswith(b"User-Agent")] == [expected]


async def test_requests_share_a_connection_and_may_be_sent_ahead(site: Echo) -> None:
    site.answer = lambda head: OK if b"/0 " not in head else OK.replace(b"ok", b"no")
    request = f"GET {site.url}/%d HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n"
    async with leased(allowing(site.url)) as lease, talking(lease) as (reader, writer):
        writer.write(b"".join((request % n).encode() for n in range(20)))
        answers = [await one_answer(reader) for _ in range(20)]
        assert [a[-2:] for a in answers] == [b"no"] + [b"ok"] * 19
        assert [h.split(b" ")[1] for h in site.heads] == [f"/{n}".encode() for n in range(20)]
        assert site.opened == 1


async def test_requests_for_two_origins_on_one_connection_do_not_mix(site: Echo) -> None:
    other = Echo()
    other.answer = lambda head: OK.replace(b"ok", b"OK")
    async with (
        serving(other.serve) as other.port,
        leased(allowing(site.url, other.url)) as lease,
        talking(lease) as (reader, writer),
    ):
        for n in range(6):
            port = (site if n % 2 else other).port
            writer.write(
                f"GET http://127.0.0.1:{port}/{n} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
            )
        answers = [(await one_answer(reader))[-2:] for _ in range(6)]
    assert answers == [b"OK", b"ok"] * 3
    assert [h.split(b" ")[1] for h in other.heads] == [b"/0", b"/2", b"/4"]


async def test_bodies_of_both_kinds_arrive_and_their_content_is_no_request(site: Echo) -> None:
    evil = b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"
    start = f"POST {site.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n".encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(evil), evil)
    async with leased(allowing(site.url)) as lease, talking(lease) as (reader, writer):
        whole = start + b"Content-Length: %d\r\n\r\n" % len(evil) + evil
        whole += start + b"Transfer-Encoding: chunked\r\n\r\n" + chunked
        for i in range(0, len(whole), 7):  # in pieces that fit nothing
            writer.write(whole[i : i + 7])
            await writer.drain()
        for _ in range(2):
            await one_answer(reader)
        assert site.bodies == [evil, chunked]
        assert lease.report().refused == {}


async def test_a_large_upload_and_download_pass_in_bounded_memory() -> None:
    size = 30_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < size:
            got += len(await reader.read(1 << 16))
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // 100_000):
            writer.write(bytes(100_000))
            await writer.drain()
        writer.close()

    async with (
        serving(serve) as port,
        leased(allowing(f"http://127.0.0.1:{port}")) as lease,
        httpx.AsyncClient(proxy=lease.proxy_url) as client,
    ):
        answer = await client.post(f"http://127.0.0.1:{port}/", content=bytes(size))
        assert len(answer.content) == size
        assert lease.report().bytes_up > size


async def test_a_reader_that_does_not_read_stops_the_site() -> None:
    sent = 0
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(bytes(100_000))
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                full.set()
                return
            sent += 100_000

    async with (
        serving(serve) as port,
        leased(allowing(f"http://127.0.0.1:{port}")) as lease,
        talking(lease) as (_, writer),
    ):
        writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        await asyncio.wait_for(full.wait(), 10)
    assert sent < 60_000_000, "all that fits into the sockets of both sides"


@pytest.mark.parametrize("how", ["chunked", "close", "length", "interim"])
async def test_answers_of_every_framing(site: Echo, how: str) -> None:
    answers = {
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n",  # noqa: E501
        "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello!",
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
        "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",  # noqa: E501
    }
    site.answer = lambda head: answers[how]
    async with leased(allowing(site.url)) as lease, httpx.AsyncClient(proxy=lease.proxy_url) as client:
        for _ in range(2):
            answer = await client.get(site.url + "/x")
            assert (answer.status_code, answer.text) == (200, "hello!")


async def test_a_head_has_no_body(site: Echo) -> None:
    site.answer = lambda head: OK[:-2] if head.startswith(b"HEAD") else OK
    async with leased(allowing(site.url)) as lease, httpx.AsyncClient(proxy=lease.proxy_url) as client:
        assert (await client.head(site.url)).content == b""
        assert (await client.get(site.url)).text == "ok"
    assert site.opened == 1


async def test_an_upgrade_becomes_a_tunnel(site: Echo) -> None:
    site.answer = lambda head: b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    async with leased(allowing(site.url)) as lease, talking(lease) as (reader, writer):
        writer.write(
            f"GET {site.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"  # noqa: E501
            .encode()
        )  # fmt: skip
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET http://127.0.0.1:1/ HTTP/1.1")
        assert await reader.readexactly(32) == b"GET http://127.0.0.1:1/ HTTP/1.1"[::-1]


async def test_a_switch_that_nobody_asked_for_makes_no_tunnel(site: Echo) -> None:
    site.answer = lambda head: b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    async with leased(allowing(site.url)) as lease, talking(lease) as (reader, writer):
        writer.write(f"GET {site.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        assert await reader.read() == b""


@pytest.mark.parametrize("port_of", ["own", "foreign"])
async def test_tunnels_lead_to_authorised_places_only(site: Echo, port_of: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        foreign.settimeout(0.2)
        port = site.port if port_of == "own" else foreign.getsockname()[1]
        async with leased(allowing(f"https://127.0.0.1:{site.port}")) as lease, talking(lease) as (r, w):
            w.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = await r.readuntil(b"\r\n\r\n")
            if port_of == "own":
                assert head.startswith(b"HTTP/1.1 200 ")
                w.write(b"GET /inside HTTP/1.1\r\n\r\n")
                assert await one_answer(r) == OK
                assert lease.report().tunnels == 1
            else:
                assert head.startswith(b"HTTP/1.1 403 ")
                assert lease.report().refused == {"foreign_tunnel": {f"https://127.0.0.1:{port}": 1}}
                with pytest.raises(TimeoutError):
                    foreign.accept()


async def test_what_is_foreign_is_refused_in_words_and_the_connection_lives_on(site: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        foreign.settimeout(0.2)
        port = foreign.getsockname()[1]
        async with leased(allowing(site.url)) as lease:
            async with talking(lease) as (reader, writer):
                for spelling in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
                    host = f"{spelling}:{port}"
                    writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                    answer = await one_answer(reader)
                    assert answer.startswith(b"HTTP/1.1 403 ")
                    assert b"none of the job's origins" in answer
                host = f"127.0.0.1:{site.port}"
                writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert await one_answer(reader) == OK
            refused = lease.report().refused["foreign_resource"]
            assert refused == {f"http://127.0.0.1:{port}": 4, f"http://localhost:{port}": 1}
            info = lease.explain(f"http://localhost:{port}/x")
            assert info is not None
            assert (info.kind, info.infrastructure) == ("origin_refused", False)
        with pytest.raises(TimeoutError):
            foreign.accept()


async def test_third_parties_are_reported_and_their_pages_refused(site: Echo) -> None:
    policy = EgressPolicy(third_party=(OriginPattern.parse("127.0.0.1"),))
    async with leased(policy) as lease, httpx.AsyncClient(proxy=lease.proxy_url) as client:
        assert (await client.get(site.url + "/lib.js")).status_code == 200
        for mark in ({"Sec-Fetch-Dest": "document"}, {"Upgrade-Insecure-Requests": "1"}):
            assert (await client.get(site.url + "/page", headers=mark)).status_code == 403
        frame = {"Sec-Fetch-Dest": "iframe", "Upgrade-Insecure-Requests": "1"}
        assert (await client.get(site.url + "/frame", headers=frame)).status_code == 200
        report = lease.report()
    assert report.third_parties == {site.url: 2}
    assert report.refused == {"foreign_document": {site.url: 2}}


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ("GET / HTTP/1.1\r\nHost: {A}\r\n\r\n", 400, "absolute URL"),
        ("GET http://{A}/ HTTP/1.1\r\n\r\n", 400, "no Host"),
        ("GET http://{A}/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", 400, "not that of the URL"),
        ("GET http://{A}/ HTTP/1.1\r\nHost: {A}\r\nHost: {A}\r\n\r\n", 400, "two Hosts"),
        ("GET http://{A}/ HTTP/1.1\r\nHost: {A}\r\n folded\r\n\r\n", 400, "well-formed"),
        ("GET http://{A}/ HTTP/1.1\r\nHost: {A}\r\nX : y\r\n\r\n", 400, "well-formed"),
        ("GET http://{A}/ HTTP/1.1\nHost: {A}\r\n\r\n", 400, "no HTTP/1"),
        ("GET http://{A}/ HTTP/2.0\r\nHost: {A}\r\n\r\n", 400, "no HTTP/1"),
        ("GET http://u@{A}/ HTTP/1.1\r\nHost: {A}\r\n\r\n", 400, "is not a host"),
        ("GET https://{A}/ HTTP/1.1\r\nHost: {A}\r\n\r\n", 403, "only http: and tunnels"),
        ("GET ftp://{A}/ HTTP/1.1\r\nHost: {A}\r\n\r\n", 403, "only http: and tunnels"),
        ("CONNECT 127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "host:port"),
        ("POST http://{A}/ HTTP/1.1\r\nHost: {A}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400, "beside"),
        ("POST http://{A}/ HTTP/1.1\r\nHost: {A}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
         400, "two"),
        ("POST http://{A}/ HTTP/1.1\r\nHost: {A}\r\nContent-Length: -1\r\n\r\n", 400, "not a number"),
        ("POST http://{A}/ HTTP/1.1\r\nHost: {A}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         400, "chunked"),
        ("\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "no HTTP/1"),
    ],
)  # fmt: skip
async def test_what_could_be_read_in_two_ways_is_refused(
    site: Echo, request_: str, status: int, words: str
) -> None:
    async with leased(allowing(site.url)) as lease:
        answer = await said(lease, request_.replace("{A}", f"127.0.0.1:{site.port}").encode("latin1"))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert words in answer.decode()
        assert lease.report().refused == {"malformed": {"unknown": 1}}
    assert site.heads == []


async def test_a_head_without_end_is_refused(site: Echo) -> None:
    async with leased(allowing(site.url), GateLimits(request_head=5000)) as lease:
        answer = await answered(lease, b"GET http://127.0.0.1/ HTTP/1.1\r\nX: " + b"x" * 6000)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_slow_heads_idle_and_too_many_connections_end(site: Echo) -> None:
    limits = GateLimits(head_time=0.2, idle=0.4, connections=3)
    async with leased(allowing(site.url), limits) as lease:
        async with (
            talking(lease) as (slow, slow_writer),
            talking(lease) as (idle, _),
            talking(lease) as (_r, _w),
        ):
            slow_writer.write(b"GET http://")
            async with talking(lease) as (fourth, _):
                assert (await fourth.read(13)).startswith(b"HTTP/1.1 503 ")
            assert (await slow.read()).startswith(b"HTTP/1.1 408 ")
            with pytest.raises(ConnectionResetError):
                await idle.read()
        assert set(lease.report().refused) == {"limit"}


async def test_a_site_that_is_not_there_is_named(site: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    async with leased(allowing(url, "http://nowhere.invalid/")) as lease:
        async with httpx.AsyncClient(proxy=lease.proxy_url) as client:
            answer = await client.get(url)
            assert (answer.status_code, "refused" in answer.text) == (502, True)
            assert (await client.get("http://nowhere.invalid/")).status_code == 502
        failed, unknown = lease.explain(url), lease.explain("http://nowhere.invalid/")
        assert failed is not None
        assert unknown is not None
        assert (failed.kind, unknown.kind) == ("connection_failed", "name_not_resolved")
        assert not failed.infrastructure
        assert lease.report().egress_failures == 0


async def test_a_site_that_hangs_up_is_seen_as_such(site: Echo) -> None:
    site.answer = lambda head: None
    async with leased(allowing(site.url)) as lease, httpx.AsyncClient(proxy=lease.proxy_url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(site.url)
        site.answer = lambda head: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\ncut"
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.get(site.url)


async def test_a_connection_that_ended_unused_is_opened_anew(site: Echo) -> None:
    async with leased(allowing(site.url)) as lease, httpx.AsyncClient(proxy=lease.proxy_url) as client:
        await client.get(site.url + "/1")
        site.answer = lambda head: OK if len(site.heads) != 2 else None
        assert (await client.get(site.url + "/2")).text == "ok"
    assert [h.split(b" ")[1] for h in site.heads] == [b"/1", b"/2", b"/2"]


async def test_the_rate_ceiling_is_the_jobs(site: Echo) -> None:
    clock = asyncio.get_running_loop().time
    # Each session brings a share: together 20 a second.
    policy, other = allowing(site.url, rate=10.0, job="j"), allowing(site.url, rate=500.0, job="k")
    async with (
        Gate() as gate,
        gate.session(policy) as one,
        gate.session(policy) as two,
        gate.session(other),
    ):
        began = clock()
        async with httpx.AsyncClient(proxy=one.proxy_url) as a, httpx.AsyncClient(proxy=two.proxy_url) as b:
            await asyncio.gather(*(c.get(site.url) for c in (a, b) for _ in range(15)))
        assert 0.45 < clock() - began < 3
        assert one.report().delayed + two.report().delayed == 10
        assert one.report().delay + two.report().delay > 0


async def test_closing_the_lease_cuts_every_connection_at_once(site: Echo) -> None:
    site.answer = lambda head: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun"
    async with (
        Gate() as gate,
        gate.session(allowing(site.url)) as other,
        gate.session(allowing(site.url)) as lease,
        talking(lease) as (reader, writer),
    ):
        writer.write(f"GET {site.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        await reader.readuntil(b"begun")
        await lease.close()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await eventually(lambda: site.open == 0, what="the site's side is cut")
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncio.open_connection("127.0.0.1", int(lease.proxy_url.rpartition(":")[2]))
        site.answer = lambda head: OK
        async with httpx.AsyncClient(proxy=other.proxy_url) as client:
            assert (await client.get(site.url)).text == "ok"


async def test_a_session_that_is_cancelled_leaves_nothing(site: Echo) -> None:
    site.answer = lambda head: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun"
    async with Gate() as gate:
        begun = asyncio.Event()

        async def session() -> None:
            async with gate.session(allowing(site.url)) as lease, talking(lease) as (reader, writer):
                writer.write(f"GET {site.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
                await reader.readuntil(b"begun")
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(session())
        await asyncio.wait_for(begun.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: site.open == 0, what="the site's side is cut")
