"""What is said to a proxy before it forwards: CONNECT, SOCKS5."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from typing import cast

from broker_config.proxy import Proxy

from .heads import HEAD_END

_MAX_ANSWER = 64 * 1024
_SOCKS_REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}


class ProxyFailed(Exception):
    """A proxy does not do what it is for. `certain`: the fault is its own; else it may be the site's."""

    def __init__(self, words: str, *, certain: bool = True) -> None:
        self.certain = certain
        super().__init__(words)


class Talk(asyncio.Protocol):
    """Reads answers, until another protocol takes over the transport."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > _MAX_ANSWER:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = exc or EOFError()
        self._wake()

    def rest(self) -> bytes:
        """What came behind the answers."""
        return bytes(self._data)

    @property
    def ended(self) -> bool:
        return self._ended is not None

    async def exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._more()
        return self._cut(size)

    async def head(self) -> bytes:
        while (match := HEAD_END.search(self._data)) is None:
            await self._more()
        return self._cut(match.end())

    def _cut(self, size: int) -> bytes:
        out = bytes(self._data[:size])
        del self._data[:size]
        return out

    async def _more(self) -> None:
        if self._ended is not None:
            # Before it has answered anything, and it answers only us.
            raise ProxyFailed("it closed the connection in the handshake", certain=False) from self._ended
        if len(self._data) > _MAX_ANSWER:
            raise ProxyFailed("its answer is too long")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def authorization(proxy: Proxy) -> bytes:
    """The header line with the proxy's credentials, or nothing."""
    if proxy.user is None:
        return b""
    pair = f"{proxy.user}:{proxy.password or ''}".encode()
    return b"Proxy-Authorization: Basic " + base64.b64encode(pair) + b"\r\n"


async def connect(talk: Talk, proxy: Proxy, host: str, port: int) -> None:
    """Ask an HTTP proxy for a tunnel. Raises `ProxyFailed`."""
    shown = f"[{host}]" if ":" in host else host
    target = f"{shown}:{port}".encode()
    talk.transport.write(
        b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n" + authorization(proxy) + b"\r\n"
    )
    while True:
        head = await talk.head()
        status = head[9:12]
        if not head.startswith(b"HTTP/1.") or not status.isdigit():
            raise ProxyFailed("it does not answer as an HTTP proxy does")
        if status[:1] != b"1":
            break
    if status == b"407":
        raise ProxyFailed("it refuses the credentials (407)")
    if status[:1] != b"2":
        raise ProxyFailed(f"it refuses the tunnel ({status.decode()})", certain=False)


async def socks5_greeting(talk: Talk, proxy: Proxy) -> None:
    """All that a SOCKS5 proxy is told before the destination. Raises `ProxyFailed`."""
    talk.transport.write(b"\x05\x01\x00" if proxy.user is None else b"\x05\x02\x00\x02")
    version, method = await talk.exactly(2)
    if version != 5:
        raise ProxyFailed("it does not speak SOCKS5")
    if method == 2 and proxy.user is not None:
        user, password = proxy.user.encode(), (proxy.password or "").encode()
        talk.transport.write(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if (await talk.exactly(2))[1]:
            raise ProxyFailed("it refuses the credentials")
    elif method:
        raise ProxyFailed("it wants credentials, of which there are none, or of another kind")


async def socks5(talk: Talk, proxy: Proxy, host: str, port: int) -> None:
    """Ask a SOCKS5 proxy for a connection; it resolves names. Raises `ProxyFailed`."""
    await socks5_greeting(talk, proxy)
    talk.transport.write(b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = await talk.exactly(4)
    if reply:
        words = _SOCKS_REPLIES.get(reply, f"error {reply}")
        raise ProxyFailed(f"it does not connect: {words}", certain=reply in (2, 7, 8))
    size = {1: 4, 4: 16}.get(kind) or (await talk.exactly(1))[0]
    await talk.exactly(size + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed
