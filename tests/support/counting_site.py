"""A site on loopback that writes down when it last heard or sent a byte, by the first part of the path.

Each `/<name>/…` has: `/fast`, `/slow` (a byte now and then), `/stream` (a chunk every few ms, for ever),
`/download` (some MB/s), `/upload` (reads what comes), `/ws` (echoes bytes after an upgrade); and `/page`,
which uses all of these in a browser.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
_PAUSES = {"slow": 0.1, "stream": 0.02, "download": 0.004}

_KEY = re.compile(rb"\r\nSec-WebSocket-Key: *([^\r ]+)", re.IGNORECASE)
_HTML = b"""<!doctype html><title>busy</title><script>
setInterval(() => fetch("fast?" + Math.random()).catch(() => 0), 30);
fetch("slow").catch(() => 0);
for (const endless of ["stream", "download"])
  fetch(endless).then(async r => { for (const r_ = r.body.getReader(); !(await r_.read()).done;); });
fetch("upload", {method: "POST", body: new Blob([new Uint8Array(1e8)])}).catch(() => 0);
const talk = () => {
  const socket = new WebSocket(new URL("ws", location.href).href.replace("http", "ws"));
  socket.onopen = () => setInterval(() => socket.send("x"), 20);
  socket.onclose = () => setTimeout(talk, 20);
};
talk();
</script>"""
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(_HTML), _HTML)


def _accept(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


class CountingSite:
    """Moments are those of `time.monotonic`."""

    def __init__(self) -> None:
        self.port = 0
        #: When a byte was last heard or sent, and when one was last heard. What is sent counts when the
        #: system has taken it, whether or not the other side reads.
        self.last: defaultdict[str, float] = defaultdict(float)
        self.heard: defaultdict[str, float] = defaultdict(float)
        self.seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.open: Counter[str] = Counter()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/fast"

    def kinds(self, name: str) -> set[str]:
        """What was asked for."""
        return set(self.seen[name])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = ""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            name, kind = head.split(b" ", 2)[1].decode().partition("?")[0].lstrip("/").split("/", 1)
            self.open[name] += 1
            self._hear(name)
            self.seen[name][kind] += 1
            if kind == "page":
                await self._send(name, writer, _PAGE)
            else:
                await self._answer(name, kind, _KEY.search(head), reader, writer)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            if name:
                self.open[name] -= 1
            writer.transport.abort()

    async def _answer(
        self,
        name: str,
        kind: str,
        key: re.Match[bytes] | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if kind in ("upload", "ws"):
            if kind == "ws":
                writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
                writer.write((b"Sec-WebSocket-Accept: %s\r\n" % _accept(key[1]) if key else b"") + b"\r\n")
            while data := await reader.read(65_536):
                self._hear(name)
                if kind == "ws" and key is None:  # a browser sends frames, and takes no echo of them
                    await self._send(name, writer, data)
        elif kind in ("slow", "stream", "download"):
            await self._send(name, writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await self._send(name, writer, b"1\r\nx\r\n" if kind == "slow" else _CHUNK)
                await asyncio.sleep(_PAUSES[kind])
        else:
            await self._send(name, writer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def _send(self, name: str, writer: asyncio.StreamWriter, data: bytes) -> None:
        if writer.transport.is_closing():
            raise ConnectionResetError
        writer.write(data)
        await writer.drain()
        self.last[name] = time.monotonic()

    def _hear(self, name: str) -> None:
        self.last[name] = self.heard[name] = time.monotonic()


@asynccontextmanager
async def counting_site() -> AsyncIterator[CountingSite]:
    site = CountingSite()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(site.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.gather(*tasks, return_exceptions=True)
