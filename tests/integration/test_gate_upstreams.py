"""The gate's ways through proxies: what they are told, when another one is taken, and that nothing ever goes
direct in their place."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
import pytest_asyncio

from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern
from broker_config.proxy import Proxy
from runner.core.egress_policy import EgressPolicy
from runner.core.egress_pool import EgressPool
from runner.gate.event import EgressEvent
from runner.gate.gate import Gate
from runner.gate.lease import Lease
from runner.gate.limits import GateLimits
from tests.support.certificate import make_certificate, server_tls
from tests.support.proxies import Mood, UpstreamProxy, upstream
from tests.support.site import Site, open_site

Scheme = Literal["http", "https", "socks5"]
LIMITS = GateLimits(proxy=0.5, connect=2, probe=0.5)


class Bench:
    """A gate whose events are kept, and whose clock can be put forward."""

    def __init__(self) -> None:
        self.events: list[EgressEvent] = []
        self.ahead = 0.0
        self.gate = Gate(limits=LIMITS, on_event=self.events.append, clock=self.now)

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    @asynccontextmanager
    async def client(
        self, site: Site, pool: EgressPool | None, **more: object
    ) -> AsyncIterator[tuple[httpx.AsyncClient, Lease]]:
        origins = frozenset({Origin.of(site.url)})
        policy = EgressPolicy(origins=origins, job="j", session=7, **more)  # type: ignore[arg-type]
        async with (
            self.gate.session(policy, pool) as lease,
            httpx.AsyncClient(proxy=lease.proxy_url, timeout=10) as client,
        ):
            yield client, lease

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(e.kind, e.proxy) for e in self.events]


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with bench.gate:
        yield bench


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


def pool_of(*proxies: UpstreamProxy) -> EgressPool:
    return EgressPool([p.proxy for p in proxies])


def port_of(site: Site) -> int:
    return Origin.of(site.url).port


async def tunnelled(lease: Lease, site: Site) -> bytes:
    """A request in a tunnel, as for https and WebSockets; the status line, of the tunnel if it fails."""
    address = f"127.0.0.1:{port_of(site)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(lease.proxy_url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(10):
            writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                return head.split(b"\r\n")[0]
            writer.write(f"GET /slow HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            return (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
    finally:
        writer.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_credentials_reach_the_proxy_and_nobody_else(bench: Bench, site: Site, scheme: Scheme) -> None:
    async with upstream(scheme, user="joe", password="se:cr@t") as up:
        async with bench.client(site, pool_of(up)) as (client, lease):
            assert (await client.get(site.url + "/style.css")).status_code == 200
            assert await tunnelled(lease, site) == b"HTTP/1.1 200 ."
            report = lease.report()
        assert report.upstreams == [f"{scheme}://127.0.0.1:{up.port}"]
        assert up.asked == [f"127.0.0.1:{port_of(site)}"] * 2
        assert "cr@t" not in str(report)
        assert site.hits == {"/style.css": 1, "/slow": 1}


async def test_an_http_proxy_is_given_absolute_requests_under_the_same_identity(
    bench: Bench, site: Site
) -> None:
    async with upstream("http") as up:
        async with bench.client(site, pool_of(up), product="P/1", tag="(x)") as (client, _):
            await client.get(site.url + "/slow?q")
        assert up.heads[0].startswith(f"GET {site.url}/slow?q HTTP/1.1\r\n".encode())
        assert site.requests[0][1].endswith(" P/1 (x)")


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_loopback_is_asked_of_no_proxy_elsewhere(bench: Bench, site: Site, host: str) -> None:
    pool = EgressPool([Proxy(scheme="http", host=host, port=80)])
    async with bench.client(site, pool) as (client, lease):
        answer = await client.get(site.url)
        assert answer.status_code == 403
        assert f"the proxy {pool.states[0].proxy} is not" in answer.text
        assert (await tunnelled(lease, site)).startswith(b"HTTP/1.1 403 ")
        assert set(lease.report().refused) == {"private_address"}
    assert not bench.events


async def test_no_proxy_is_at_a_machines_metadata(bench: Bench, site: Site) -> None:
    pool = EgressPool([Proxy(scheme="http", host="169.254.169.254", port=80)])
    policy = EgressPolicy(origins=frozenset({Origin("http", "shop.example", 80)}))
    async with (
        bench.gate.session(policy, pool) as lease,
        httpx.AsyncClient(proxy=lease.proxy_url) as client,
    ):
        answer = await client.get("http://shop.example/")
    assert answer.status_code == 502
    assert "where no proxy is" in answer.text


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The folder with `cert.pem` and `key.pem`."""
    return make_certificate(tmp_path)


async def test_tls_to_the_proxy(site: Site, certificate: Path) -> None:
    tls = server_tls(certificate)
    events: list[EgressEvent] = []
    async with upstream("https", user="u", password="p", tls=tls) as up:
        bench = Bench()
        bench.gate = Gate(tls=lambda: ssl.create_default_context(cafile=str(certificate / "cert.pem")))
        async with bench.gate, bench.client(site, pool_of(up)) as (client, lease):
            assert (await client.get(site.url + "/style.css")).status_code == 200
            assert await tunnelled(lease, site) == b"HTTP/1.1 200 ."
        # One that cannot be verified does not get the credentials.
        before = len(up.heads)
        bench.gate = Gate(on_event=events.append)
        async with bench.gate, bench.client(site, pool_of(up)) as (client, lease):
            assert (await client.get(site.url)).status_code == 502
        assert "TLS" in events[0].reason
        assert len(up.heads) == before


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("fault", ["dead", "credentials", "silent", "closes", "destination"])
async def test_another_proxy_is_taken_when_one_does_not_work(
    bench: Bench, site: Site, scheme: Scheme, fault: Mood | Literal["dead"]
) -> None:
    async with upstream(scheme, user="u", password="p") as bad, upstream("socks5") as good:
        if fault == "dead":
            await bad.kill()
        else:
            bad.mood = fault
        pool = pool_of(bad, good)
        async with bench.client(site, pool) as (_, lease):
            assert await tunnelled(lease, site) == b"HTTP/1.1 200 ."
            report = lease.report()
        assert bench.told == [("proxy_down", str(bad.proxy))]
        assert (bench.events[0].job, bench.events[0].session) == ("j", 7)
        assert [e.proxy for e in report.egress_errors] == [str(bad.proxy)]
        assert report.upstreams == [str(good.proxy)]
        assert not report.egress_failures
        assert site.hits == {"/slow": 1}
        # Who comes next is spared.
        connections = bad.connections
        async with bench.client(site, pool) as (client, _):
            assert (await client.get(site.url)).status_code == 200
        assert bad.connections == connections


@pytest.mark.parametrize("fault", ["dead", "credentials", "closes"])
async def test_the_same_for_plain_requests(bench: Bench, site: Site, fault: Mood | Literal["dead"]) -> None:
    async with upstream("http") as bad, upstream("http") as good:
        if fault == "dead":
            await bad.kill()
        else:
            bad.mood = fault
        async with bench.client(site, pool_of(bad, good)) as (client, lease):
            assert (await client.get(site.url)).status_code == 200
            assert lease.report().upstreams[-1] == str(good.proxy)
        assert bench.told == [("proxy_down", str(bad.proxy))]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_with_no_proxy_left_the_request_fails_and_nothing_goes_direct(
    bench: Bench, site: Site, scheme: Scheme
) -> None:
    async with upstream(scheme) as dead, upstream(scheme, user="u", password="p") as refusing:
        await dead.kill()
        refusing.mood = "credentials"
        async with bench.client(site, pool_of(dead, refusing)) as (client, lease):
            answer = await client.get(site.url)
            assert answer.status_code == 502
            assert "no proxy of 2 is left" in answer.text
            assert await tunnelled(lease, site) == b"HTTP/1.1 502 Bad Gateway"
            info = lease.explain(site.url)
            assert info is not None
            assert (info.kind, info.infrastructure) == ("egress_failed", True)
            assert lease.report().egress_failures
        assert not site.requests
        assert [kind for kind, _ in bench.told] == ["proxy_down", "proxy_down", "no_proxy_left"]


@pytest.mark.parametrize("path", ["/broken", "/nothing", "/redirect", "/cut"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_what_the_site_does_is_no_reason_to_change(
    bench: Bench, site: Site, scheme: Scheme, path: str
) -> None:
    async with upstream(scheme) as one, upstream(scheme) as two:
        async with bench.client(site, pool_of(one, two)) as (client, lease):
            if path == "/cut":
                try:
                    status = (await client.get(site.url + path)).status_code
                except httpx.TransportError:
                    status = 502
                assert status == 502
                info = lease.explain(site.url)
                assert info is None or info.kind == "connection_failed"
            else:
                assert (await client.get(site.url + path)).status_code in (500, 404, 302)
                assert two.connections == 0
            await lease.settle()
            assert not lease.report().egress_failures
        assert bench.told == []


async def test_a_site_that_no_proxy_reaches_brings_no_proxy_down(bench: Bench, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = f"127.0.0.1:{gone.getsockname()[1]}"
    policy = EgressPolicy(origins=frozenset({Origin.of(f"https://{dead}")}))
    async with upstream("http") as one, upstream("socks5") as two:
        pool = pool_of(one, two)
        async with (
            bench.gate.session(policy, pool) as lease,
            httpx.AsyncClient(proxy=lease.proxy_url) as client,
        ):
            with pytest.raises(httpx.ProxyError, match="502"):
                await client.get(f"https://{dead}/")
        assert all(s.down_since is None for s in pool.states)


async def test_a_proxy_that_returns_is_taken_again(bench: Bench, site: Site) -> None:
    async with upstream("socks5") as one, upstream("socks5") as two:
        pool = pool_of(one, two)
        await one.kill()
        async with bench.client(site, pool) as (client, _):
            assert (await client.get(site.url)).status_code == 200
        await one.start()
        bench.ahead += 6
        pool.turn(0)  # the second proxy's turn is over
        async with bench.client(site, pool) as (client, lease):
            assert (await client.get(site.url)).status_code == 200
            assert lease.report().upstreams == [str(one.proxy)]
        assert bench.told == [("proxy_down", str(one.proxy)), ("proxy_up", str(one.proxy))]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_killed_within_an_answer_is_an_egress_failure(
    bench: Bench, site: Site, scheme: Scheme
) -> None:
    async with upstream(scheme) as up, bench.client(site, pool_of(up)) as (client, lease):
        asking = asyncio.create_task(client.get(site.url + "/held"))
        await site.asked("/held")
        await up.kill()
        try:
            status = (await asking).status_code
        except httpx.TransportError:
            status = 502
        assert status == 502
        await lease.settle()
        assert lease.report().egress_failures
        info = lease.explain(site.url)
        assert info is not None
        assert info.kind == "egress_failed"
        assert bench.told[0] == ("proxy_down", str(up.proxy))


async def test_three_proxies_one_killed_one_refusing_midway_every_session_ends_ok(
    bench: Bench, site: Site
) -> None:
    async with (
        upstream("http", user="u", password="p") as one,
        upstream("socks5", user="u", password="p") as two,
        upstream("http", user="u", password="p") as three,
    ):
        pool = pool_of(one, two, three)
        statuses: list[int] = []
        for number in range(30):
            if number == 10:
                await two.kill()
            if number == 20:
                three.mood = "credentials"
            async with bench.client(site, pool) as (client, lease):
                statuses += [(await client.get(site.url + p)).status_code for p in ("/", "/style.css")]
                assert not lease.report().egress_failures
        assert statuses == [200] * 60
        assert bench.told == [("proxy_down", str(two.proxy)), ("proxy_down", str(three.proxy))]
        # All that the site saw came from a proxy.
        assert len(site.requests) == 60
        assert len(one.asked) + len(two.asked) + len(three.asked) >= 30
        assert two.asked
        assert three.asked


async def test_bypass_goes_direct_and_all_else_does_not(bench: Bench, site: Site) -> None:
    async with upstream("http") as up, open_site() as other:
        policy = EgressPolicy(
            origins=frozenset({Origin.of(site.url), Origin.of(other.url)}),
            bypass=(OriginPattern.parse(f"127.0.0.1:{port_of(other)}"),),
        )
        async with bench.gate.session(policy, pool_of(up)) as lease:
            async with httpx.AsyncClient(proxy=lease.proxy_url) as client:
                for s in (site, other):
                    assert (await client.get(s.url)).status_code == 200
            assert set(lease.report().upstreams) == {"direct", str(up.proxy)}
        assert up.asked == [f"127.0.0.1:{port_of(site)}"]


async def test_a_pool_without_proxies_is_not_direct(bench: Bench, site: Site) -> None:
    off = Proxy(scheme="http", host="127.0.0.1", port=9, enabled=False)
    async with bench.client(site, EgressPool([off])) as (client, _):
        assert (await client.get(site.url)).status_code == 502
    assert not site.requests
