"""Looks whether an origin shows its token: in a file, in DNS, or on its front page.

The name is looked up once, each address that it has must be allowed, and the connection goes to one of these
very addresses; TLS is checked against the name. No redirect is followed, and of a body no more is read than
`MAX_BODY`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, Protocol

from broker_config.address import IPAddress, as_address
from broker_config.origin import Origin
from broker_config.target_proof import META_NAME, METHODS, TXT_LABEL, WELL_KNOWN, ProofMethod
from orchestrator.core.target_rules import address_problem

# httpx and dns are imported where they are used: an orchestrator on loopback seldom proves a target.
if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

MAX_BODY = 64 << 10
#: For the whole of one method: looking up, connecting, reading, s.
TIMEOUT = 10.0
_MAX_ADDRESSES = 16


class Finding(NamedTuple):
    """`method` is the one that has proved it, None where none did. `conclusive`: the origin was asked and did
    not show its token; else it could not be asked. `detail` says in words what was found."""

    method: ProofMethod | None
    conclusive: bool = True
    detail: str = ""


class NotProved(Exception):
    """The origin was asked, and does not show the token."""


class NotAsked(Exception):
    """Nobody can say: there was no answer that counts."""


class Names(Protocol):
    """Looks names up. Both raise `NotAsked`."""

    async def addresses(self, host: str) -> list[IPAddress]: ...

    async def texts(self, name: str) -> list[str]:
        """Of its TXT records; none is an answer too."""
        ...


class DnsNames:
    """By DNS servers: those given, on that port, or those of the system."""

    def __init__(self, servers: Sequence[str] = (), port: int = 53) -> None:
        self._servers = list(servers)
        self._port = port

    async def addresses(self, host: str) -> list[IPAddress]:
        if self._servers:
            found = [*await self._ask(host, "A"), *await self._ask(host, "AAAA")]
            return [ipaddress.ip_address(r.address) for r in found]  # type: ignore[attr-defined]
        try:
            rows = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise NotAsked(f"{host} cannot be looked up: {e}") from None
        texts = dict.fromkeys(str(row[4][0]).partition("%")[0] for row in rows)
        return [ipaddress.ip_address(text) for text in texts]

    async def texts(self, name: str) -> list[str]:
        return [
            b"".join(r.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]
            for r in await self._ask(name, "TXT")
        ]

    async def _ask(self, name: str, kind: str) -> list[object]:
        import dns.asyncresolver
        import dns.exception
        import dns.resolver

        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                resolver.nameservers = list(self._servers)
                resolver.port = self._port
            answer = await resolver.resolve(name, kind, search=False, lifetime=TIMEOUT / 2)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError, ValueError) as e:
            raise NotAsked(f"{name} cannot be looked up: {e}") from None
        return list(answer)


class TargetProver:
    """`allow_loopback`: names may lead to loopback, which takes a grant else. `tls` makes the context by
    which certificates are checked, `transport` what requests go by."""

    def __init__(
        self,
        *,
        names: Names | None = None,
        allow_loopback: bool = False,
        contact: str = "",
        timeout: float = TIMEOUT,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        transport: Callable[[ssl.SSLContext], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._names = names or DnsNames()
        self._allow_loopback = allow_loopback
        self._timeout = timeout
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._transport = transport or _transport
        more = f"; +{contact}" if contact else ""
        self._agent = f"TrafficBuster/{version('trafficbuster')} (verification of a target{more})"

    async def prove(
        self, origin: str, token: str, *, method: ProofMethod | None = None, granted: bool = False
    ) -> Finding:
        """Look by that method, or by all. `granted`: an admin has allowed addresses that are not public."""
        at = Origin.of(origin)
        methods = (method,) if method is not None else METHODS
        if as_address(at.host) is not None:
            methods = tuple(m for m in methods if m != "dns")
            if not methods:
                return Finding(None, True, f"{at.host} is an address: it has no TXT record")
        words, conclusive = [], True
        for each in methods:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._look(at, token, each, granted)
                return Finding(each)
            except NotProved as e:
                words.append(f"{each}: {e}")
            except NotAsked as e:
                conclusive = False
                words.append(f"{each}: {e}")
            except TimeoutError:
                conclusive = False
                words.append(f"{each}: no whole answer within {self._timeout:g} s")
            except Exception as e:
                # Whatever a site sends must not end the orchestrator's work.
                log.exception("the proof of %s breaks the prover", origin)
                conclusive = False
                words.append(f"{each}: it cannot be read ({type(e).__name__})")
        return Finding(None, conclusive, "; ".join(words)[:1000])

    async def _look(self, at: Origin, token: str, method: ProofMethod, granted: bool) -> None:
        """Raises `NotProved`, `NotAsked`."""
        if method == "dns":
            name = f"{TXT_LABEL}.{at.host}"
            if token not in (t.strip() for t in await self._names.texts(name)):
                raise NotProved(f"no TXT record of {name} is the token")
            return
        path = WELL_KNOWN if method == "file" else "/"
        text = await self._fetch(at, path, granted, whole=method == "file")
        if method == "file":
            if token not in (line.strip() for line in text.splitlines()):
                raise NotProved(f"{at}{path} does not hold the token in a line of its own")
        elif token not in _metas(text):
            raise NotProved(f'{at}/ has no <meta name="{META_NAME}"> with the token in its first 64 KiB')

    async def _fetch(self, at: Origin, path: str, granted: bool, *, whole: bool) -> str:
        """The body; where it need not be `whole` its beginning. Raises `NotProved`, `NotAsked`."""
        import httpx

        addresses = await self._addresses(at, granted)
        if self._tls is None:
            self._tls = await asyncio.to_thread(self._make_tls)
        trouble = ""
        async with self._transport(self._tls) as transport:
            for address in addresses:
                try:
                    return await self._get(transport, at, address, path, whole)
                except (httpx.TransportError, ssl.SSLError, OSError) as e:
                    trouble = f"{at} at {address}: {str(e) or type(e).__name__}"
        raise NotAsked(trouble)

    async def _addresses(self, at: Origin, granted: bool) -> list[IPAddress]:
        literal = as_address(at.host)
        if literal is not None:
            found = [literal]
        elif at.is_loopback:
            # Whatever a DNS server makes of it.
            found = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
        else:
            found = (await self._names.addresses(at.host))[:_MAX_ADDRESSES]
        if not found:
            raise NotAsked(f"{at.host} has no address")
        for address in found:
            if problem := address_problem(address, granted=granted, loopback_free=self._allow_loopback):
                raise NotProved(f"{at.host} leads to {problem}" if literal is None else problem)
        return found

    async def _get(
        self, transport: httpx.AsyncBaseTransport, at: Origin, address: IPAddress, path: str, whole: bool
    ) -> str:
        import httpx

        host = f"[{address}]" if address.version == 6 else str(address)
        request = httpx.Request(
            "GET",
            f"{at.scheme}://{host}:{at.port}{path}",
            headers={
                "Host": str(at).partition("://")[2],
                "User-Agent": self._agent,
                "Accept": "text/plain, text/html, */*;q=0.1",
                # What is small packed may be large unpacked.
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            extensions={
                "sni_hostname": at.host,
                "timeout": httpx.Timeout(self._timeout).as_dict(),
            },
        )
        response = await transport.handle_async_request(request)
        try:
            return await _body(response, f"{at}{path}", whole)
        finally:
            await response.aclose()


async def _body(response: httpx.Response, where: str, whole: bool) -> str:
    import httpx

    status = response.status_code
    if 300 <= status < 400:
        raise NotProved(f"{where} answers with a redirect ({status}), which is not followed")
    if status >= 500 or status == 429:
        raise NotAsked(f"{where} answers with status {status}")
    if status != 200:
        raise NotProved(f"{where} answers with status {status}")
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise NotProved(f"{where} comes packed although that was not asked for")
    data = bytearray()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        data += chunk
        if len(data) > MAX_BODY:
            if whole:
                raise NotProved(f"{where} is longer than {MAX_BODY >> 10} KiB")
            break
    return bytes(data[:MAX_BODY]).decode("utf-8", "replace")


def _transport(tls: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    import httpx

    # No proxy, and no connection is kept.
    return httpx.AsyncHTTPTransport(
        verify=tls, trust_env=False, http2=False, limits=httpx.Limits(max_connections=1)
    )


#: Elements of a head in which no element is one.
_TEXT = frozenset({"title", "style", "script", "noscript", "template", "textarea"})


class _Metas(HTMLParser):
    """Collects the contents of the elements that prove; those of comments, scripts and texts do not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._closed = False
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            # What visitors can write stands in the body.
            self._closed = True
        if self._closed or self._inside:
            return
        if tag in _TEXT:
            self._inside = tag
        given = dict(attrs)
        if tag == "meta" and (given.get("name") or "").strip().lower() == META_NAME:
            self.found.append((given.get("content") or "").strip())

    def handle_endtag(self, tag: str) -> None:
        if tag == "head":
            self._closed = True
        if tag == self._inside:
            self._inside = ""


def _metas(page: str) -> list[str]:
    parser = _Metas()
    with contextlib.suppress(AssertionError):  # what it says to some markup that is none
        parser.feed(page)
    return parser.found
