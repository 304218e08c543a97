"""What proves an origin, and what does not: with a real site and a real DNS server, both on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from broker_config.target_proof import WELL_KNOWN
from orchestrator.bus.target_prover import MAX_BODY, Finding, TargetProver
from tests.support.certificate import make_certificate, server_tls
from tests.support.target_parts import DnsServer, ProvingSite, dns_server, proving_site

NAME = "shop.example"
TOKEN = "the-token"


class Scene:
    def __init__(self, dns: DnsServer, site: ProvingSite) -> None:
        self.dns = dns
        self.site = site
        self.origin = f"http://{NAME}:{site.port}"

    def prover(self, *, timeout: float = 3.0, allow_loopback: bool = True) -> TargetProver:
        return TargetProver(
            names=self.dns.names(),
            allow_loopback=allow_loopback,
            timeout=timeout,
            contact="https://example.com/traffic",
        )

    def show(self, body: bytes, path: str = WELL_KNOWN, status: int = 200, head: str = "") -> None:
        self.site.pages[path] = (status, head, body)

    async def prove(self, method: str | None = None, **more: object) -> Finding:
        return await self.prover(**more).prove(self.origin, TOKEN, method=method)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    async with dns_server() as dns, proving_site() as site:
        dns.put(NAME, "A", ["127.0.0.1"])
        yield Scene(dns, site)


async def test_a_file_that_holds_the_token(scene: Scene) -> None:
    scene.show(b"other-token\r\n  the-token \n")
    assert await scene.prove("file") == Finding("file")
    (head,) = scene.site.heads
    lines = head.split("\r\n")
    assert lines[0] == f"GET {WELL_KNOWN} HTTP/1.1"
    assert f"Host: {NAME}:{scene.site.port}" in lines
    assert "https://example.com/traffic" in head


async def test_a_txt_record(scene: Scene) -> None:
    scene.dns.put(f"_trafficbuster.{NAME}", "TXT", ['"v=spf1 -all"', '"the-" "token"'])
    assert await scene.prove("dns") == Finding("dns")
    assert not scene.site.heads


@pytest.mark.parametrize(
    ("page", "proved"),
    [
        (b'<html><head><meta name="trafficbuster-verification" content="the-token"></head>', True),
        (b"<META CONTENT='the-token' NAME='TrafficBuster-Verification'/>", True),
        (b'<meta name="trafficbuster-verification" content="the-token-2">', False),
        (b'<!-- <meta name="trafficbuster-verification" content="the-token"> -->', False),
        (b'<title><meta name="trafficbuster-verification" content="the-token"></title>', False),
        (b'<script>\'<meta name="trafficbuster-verification" content="the-token">\'</script>', False),
        (b'<body><p><meta name="trafficbuster-verification" content="the-token"></body>', False),
        (b"<![<![<![", False),
        (b"the-token", False),
    ],
)
async def test_an_element_of_the_head(scene: Scene, page: bytes, proved: bool) -> None:
    scene.show(page + b"." * 2 * MAX_BODY, "/")
    found = await scene.prove("meta")
    assert (found.method, found.conclusive) == ("meta" if proved else None, True)


async def test_without_a_method_all_are_tried(scene: Scene) -> None:
    assert (await scene.prove()).method is None
    scene.show(b'<meta name="trafficbuster-verification" content="the-token">', "/")
    assert (await scene.prove()).method == "meta"
    scene.dns.put(f"_trafficbuster.{NAME}", "TXT", ['"the-token"'])
    assert (await scene.prove()).method == "dns"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(scene: Scene, status: int) -> None:
    scene.show(b"the-token", WELL_KNOWN, status, "Location: /elsewhere\r\n")
    scene.show(b"the-token", "/elsewhere")
    found = await scene.prove("file")
    assert (found.method, found.conclusive) == (None, True)
    assert "redirect" in found.detail
    assert len(scene.site.heads) == 1


@pytest.mark.parametrize(
    ("status", "head", "body", "conclusive", "words"),
    [
        (404, "", b"the-token", True, "status 404"),
        (403, "", b"the-token", True, "status 403"),
        (503, "", b"the-token", False, "status 503"),
        (429, "", b"the-token", False, "status 429"),
        (200, "", b"the-toke", True, "does not hold"),
        (200, "", b"xthe-token", True, "does not hold"),
        (200, "", b"the-token\n" + b"." * MAX_BODY, True, "longer than 64 KiB"),
        (200, "Content-Encoding: gzip\r\n", b"the-token", True, "packed"),
    ],
)
async def test_answers_that_prove_nothing(
    scene: Scene, status: int, head: str, body: bytes, conclusive: bool, words: str
) -> None:
    scene.show(body, WELL_KNOWN, status, head)
    found = await scene.prove("file")
    assert (found.method, found.conclusive) == (None, conclusive)
    assert words in found.detail


async def test_a_body_without_end_is_left(scene: Scene) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nthe-token\n")
        while True:
            writer.write(b"." * 8192)
            await writer.drain()
            sent += 8192

    scene.site.pages[WELL_KNOWN] = endless
    found = await scene.prove("file")
    assert (found.method, found.conclusive) == (None, True)
    assert "longer than 64 KiB" in found.detail
    assert sent < 16 << 20, "what the system buffers"


async def test_a_slow_body_is_left(scene: Scene) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nthe-token\n")
        while True:
            # Each byte well within any time-out of reading alone.
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    scene.site.pages[WELL_KNOWN] = slow
    began = asyncio.get_running_loop().time()
    found = await scene.prove("file", timeout=0.6)
    assert asyncio.get_running_loop().time() - began < 3
    assert (found.method, found.conclusive) == (None, False)
    assert "within 0.6 s" in found.detail


async def test_a_name_is_looked_up_once_and_its_address_kept(scene: Scene) -> None:
    """The second answer would lead to another site."""
    scene.show(b"the-token")
    async with proving_site(address="127.0.0.2", port=scene.site.port) as other:
        other.pages[WELL_KNOWN] = (200, "", b"nothing")
        scene.dns.put(NAME, "A", ["127.0.0.1"], ["127.0.0.2"])
        assert await scene.prove("file") == Finding("file")
        assert scene.dns.asked.count((NAME, "A")) == 1
        assert (len(scene.site.heads), len(other.heads)) == (1, 0)


async def test_the_connection_goes_to_the_address_that_was_looked_at(scene: Scene) -> None:
    """A name that is public when it is looked at, and loopback a moment later."""
    dialled: list[str] = []

    class Diverted(httpx.AsyncBaseTransport):
        """Nothing may leave this machine: the site stands for the public address."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            dialled.append(request.url.host)
            return httpx.Response(200, stream=httpx.ByteStream(b"the-token"))

    scene.dns.put(NAME, "A", ["8.8.8.8"], ["127.0.0.1"])
    prover = TargetProver(names=scene.dns.names(), transport=lambda tls: Diverted())
    assert await prover.prove(scene.origin, TOKEN, method="file") == Finding("file")
    assert dialled == ["8.8.8.8"]
    assert not scene.site.heads
    found = await prover.prove(scene.origin, TOKEN, method="file")
    assert "loopback" in found.detail
    assert dialled == ["8.8.8.8"]


@pytest.mark.parametrize(
    ("kind", "address"),
    [("A", "127.0.0.1"), ("A", "10.0.0.1"), ("A", "169.254.169.254"), ("A", "100.64.0.1"),
     ("AAAA", "::1"), ("AAAA", "::ffff:127.0.0.1"), ("AAAA", "64:ff9b::7f00:1"), ("AAAA", "2002:7f00:1::")],
)  # fmt: skip
async def test_no_name_leads_the_prover_inside(scene: Scene, kind: str, address: str) -> None:
    """Not even beside a public address."""
    scene.show(b"the-token")
    scene.dns.put(NAME, "A", ["8.8.8.8"])
    scene.dns.put(NAME, kind, [address] if kind == "AAAA" else ["8.8.8.8", address])
    found = await scene.prove("file", allow_loopback=False)
    assert (found.method, found.conclusive) == (None, True)
    assert f"{NAME} leads to" in found.detail
    assert not scene.site.heads


async def test_the_grant_of_an_admin_lets_it_look_inside(scene: Scene) -> None:
    scene.show(b"the-token")
    prover = scene.prover(allow_loopback=False)
    assert (await prover.prove(scene.origin, TOKEN, method="file", granted=True)).method == "file"
    scene.dns.put(NAME, "A", ["169.254.169.254"])
    found = await prover.prove(scene.origin, TOKEN, method="file", granted=True)
    assert "metadata" in found.detail


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b""])
async def test_what_is_no_http_says_nothing(scene: Scene, head: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()

    scene.site.pages[WELL_KNOWN] = answer
    found = await scene.prove("file")
    assert (found.method, found.conclusive) == (None, False)


async def test_an_error_of_our_own_ends_nothing(scene: Scene) -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise KeyError("x")

    prover = TargetProver(names=scene.dns.names(), allow_loopback=True, transport=lambda tls: Broken())
    found = await prover.prove(scene.origin, TOKEN, method="file")
    assert (found.method, found.conclusive) == (None, False)
    assert "cannot be read" in found.detail


async def test_names_that_nobody_answers_for_say_nothing(scene: Scene) -> None:
    scene.dns.silent = True
    found = await scene.prove(timeout=0.5)
    assert (found.method, found.conclusive) == (None, False)
    scene.dns.silent = False
    scene.dns.put(NAME, "A", [])
    found = await scene.prove("file")
    assert (found.conclusive, found.detail) == (False, f"file: {NAME} has no address")


async def test_a_site_that_is_down_says_nothing(scene: Scene) -> None:
    origin = f"http://{NAME}:1"
    found = await scene.prover().prove(origin, TOKEN, method="file")
    assert (found.method, found.conclusive) == (None, False)


async def test_an_address_has_no_txt_record(scene: Scene) -> None:
    scene.show(b"the-token")
    origin = f"http://127.0.0.1:{scene.site.port}"
    assert not (await scene.prover().prove(origin, TOKEN, method="dns")).method
    assert (await scene.prover().prove(origin, TOKEN)).method == "file"


async def test_tls_is_checked_against_the_name(scene: Scene, tmp_path: Path) -> None:
    for name in (NAME, "other.example"):
        folder = tmp_path / name
        folder.mkdir()
        make_certificate(folder, f"DNS:{name}")
        trusted = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        async with proving_site(server_tls(folder)) as site:
            site.pages[WELL_KNOWN] = (200, "", b"the-token")
            names = scene.dns.names()
            prover = TargetProver(names=names, allow_loopback=True, tls=lambda t=trusted: t)  # type: ignore[misc]
            found = await prover.prove(f"https://{NAME}:{site.port}", TOKEN, method="file")
            nobody = TargetProver(names=names, allow_loopback=True)
            unknown = await nobody.prove(f"https://{NAME}:{site.port}", TOKEN, method="file")
            assert (unknown.method, unknown.conclusive) == (None, False)
        if name == NAME:
            assert found == Finding("file")
        else:
            assert found.method is None
            assert "certificate" in found.detail.lower()
            assert not site.heads
