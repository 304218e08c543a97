"""Upstream proxies for tests: HTTP, HTTPS and SOCKS5, with credentials, which can be killed or made to
refuse."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from broker_config.proxy import Proxy

#: What the proxy does with the next connections: work, refuse the credentials, refuse the destination, take
#: the connection and say nothing, or close it.
Mood = Literal["works", "credentials", "destination", "silent", "closes"]


class UpstreamProxy:
    """`asked` holds `host:port` of what it was asked for, in order; `connections` counts what came in.
    `ports` are those from which it went on to sites. `names` gives addresses to the names that it resolves.
    """

    def __init__(
        self,
        scheme: Literal["http", "https", "socks5"] = "http",
        *,
        user: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        names: dict[str, str] | None = None,
    ) -> None:
        self.scheme = scheme
        self.user, self.password = user, password
        self.mood: Mood = "works"
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.ports: list[int] = []
        self.port = 0
        self._tls = tls
        self._names = names or {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def proxy(self) -> Proxy:
        return Proxy(
            scheme=self.scheme, host="127.0.0.1", port=self.port, user=self.user, password=self.password
        )

    async def start(self) -> None:
        """Listen; on the same port again after `kill`."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Cut all connections and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                if self.mood == "closes":
                    return
                if self.mood == "silent":
                    await asyncio.Event().wait()
                await (self._socks(reader, writer) if self.scheme == "socks5" else self._http(reader, writer))
        finally:
            writer.transport.abort()

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked.append(f"{host}:{port}")
        reader, writer = await asyncio.open_connection(self._names.get(host, host), port)
        self.ports.append(writer.get_extra_info("sockname")[1])
        return reader, writer

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            line, _, fields = head.partition(b"\r\n")
            method, target, _ = line.split(b" ")
            wanted = base64.b64encode(f"{self.user}:{self.password}".encode())
            refused = self.user is not None and b"Proxy-Authorization: Basic " + wanted not in fields
            if refused or self.mood == "credentials":
                writer.write(
                    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
                )
                await writer.drain()
                continue
            if self.mood == "destination":
                writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                continue
            authority = target if method == b"CONNECT" else target.split(b"/", 3)[2]
            host, _, port = (
                authority.decode().rpartition(":") if b":" in authority else (authority.decode(), "", "80")
            )
            try:
                site_reader, site_writer = await self._dial(host.strip("[]"), int(port))
            except OSError:
                writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                continue
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await _relay(reader, writer, site_reader, site_writer)
                return
            path = b"/" + [*target.split(b"/", 3), b""][3]
            kept = b"\r\n".join(f for f in fields.split(b"\r\n") if not f.lower().startswith(b"proxy-"))
            site_writer.write(method + b" " + path + b" HTTP/1.1\r\n" + kept)
            try:
                site_writer.write(await reader.readexactly(_length(head) or 0))
                answer = await site_reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                size = 0 if answer[9:12] in (b"204", b"304") or method == b"HEAD" else _length(answer)
                if size is None:
                    await _relay(reader, writer, site_reader, site_writer)
                    return
                while size:
                    part = await site_reader.read(min(size, 65_536))
                    if not part:
                        return
                    size -= len(part)
                    writer.write(part)
                    await writer.drain()
            finally:
                site_writer.transport.abort()

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self.user is not None:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return
            writer.write(b"\x05\x02")
            _, size = await reader.readexactly(2)
            user = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            good = (user.decode(), password.decode()) == (self.user, self.password)
            writer.write(b"\x01\x00" if good and self.mood != "credentials" else b"\x01\x01")
            if not good or self.mood == "credentials":
                await writer.drain()
                return
        else:
            writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        elif kind == 1:
            host = ".".join(map(str, await reader.readexactly(4)))
        else:
            host = (await reader.readexactly(16)).hex(":", 2)
        port = int.from_bytes(await reader.readexactly(2), "big")
        if self.mood == "destination":
            writer.write(b"\x05\x04\x00\x01" + bytes(6))
            await writer.drain()
            return
        try:
            site_reader, site_writer = await self._dial(host, port)
        except OSError:
            writer.write(b"\x05\x05\x00\x01" + bytes(6))
            await writer.drain()
            return
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await _relay(reader, writer, site_reader, site_writer)


def _length(head: bytes) -> int | None:
    match = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(match[1]) if match else None


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    site_reader: asyncio.StreamReader,
    site_writer: asyncio.StreamWriter,
) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()

    tasks = {asyncio.create_task(pump(reader, site_writer)), asyncio.create_task(pump(site_reader, writer))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await writer.drain()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        site_writer.transport.abort()
        writer.close()


@asynccontextmanager
async def upstream(
    scheme: Literal["http", "https", "socks5"] = "http",
    *,
    user: str | None = None,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
    names: dict[str, str] | None = None,
) -> AsyncIterator[UpstreamProxy]:
    """A proxy on a free loopback port."""
    proxy = UpstreamProxy(scheme, user=user, password=password, tls=tls, names=names)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.kill()
