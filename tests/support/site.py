"""A web site for tests that counts what it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

_IMAGE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8cfc0f01f0005000201a5f7e5510000000049454e44ae426082"
)
_PAGES = {
    "/": (
        "<h1>A page</h1><link rel=stylesheet href=/style.css><img src=/pixel.png width=300 height=200>"
        "<script src=/code.js></script><div style='height:3000px'>long</div><p>the end</p>"
        "<script>addEventListener('scroll',()=>{"
        "if(!self.seen&&scrollY+innerHeight>document.body.scrollHeight-10){self.seen=1;fetch('/bottom')}})</script>"
    ),
    "/errors": (
        "<h1>Errors</h1><script>console.error('one');console.log('not one')</script>"
        "<script>throw new Error('two')</script><img src=/nothing.png>"
    ),
    "/hang": "<h1>Hangs</h1><script>setTimeout(()=>{while(true);},50)</script>",
    "/hang-at-once": "<h1>Hangs</h1><script>while(true);</script>",
    "/moves-on": "<script>location.replace('/?moved')</script>",
    "/moves-late": "<h1>Moves</h1><script>setTimeout(()=>location.replace('/?moved'),60)</script>",
    "/shift": (
        "<h1>Shifts</h1><div id=d></div><p>moved text</p>"
        "<script>setTimeout(()=>{d.style.height='200px'},30)</script>"
    ),
}


_PAGES["/rich"] = (
    "<link rel=stylesheet href=/style.css><h1>Rich</h1><script src=/code.js></script>"
    + "".join(
        f"<h2>Part {n}</h2><p>{'Words and more words. ' * 60}</p>"
        f"<img src=/picture/{n}.svg width=400 height=300>"
        for n in range(20)
    )
)
_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 300">'
    + "".join(
        f'<circle cx="{n * 37 % 400}" cy="{n * 53 % 300}" r="{n % 29}" fill="#{n * 7919 % 4096:03x}"/>'
        for n in range(180)
    )
    + "</svg>"
).encode()


class Site:
    """`hits` counts requests by path, `requests` holds `(path, user agent)` in the order of arrival. `asked`
    tells when a path is asked for, `release` answers those that wait at `/held`. `pages` are a test's own:
    documents by path, `redirects` leads from paths to addresses. `queries` holds the last query of each
    path. `ports` are those from which connections came."""

    def __init__(self) -> None:
        self.url = ""
        self.hits: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.release = asyncio.Event()
        self.pages: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.queries: dict[str, str] = {}
        self.ports: list[int] = []
        self._asked: dict[str, asyncio.Event] = {}

    async def asked(self, path: str, times: int = 1, deadline: float = 10.0) -> None:
        """Return when the path has been asked for so many times."""
        async with asyncio.timeout(deadline):
            while self.hits[path] < times:
                event = self._asked.setdefault(path, asyncio.Event())
                event.clear()
                await event.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
                if not await self._answer(head, writer):
                    break
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> bool:
        path, _, query = head.split(" ", 2)[1].partition("?")
        self.queries[path] = unquote(query)
        agent = re.search(r"(?im)^user-agent: (.*?)\r?$", head)
        self.hits[path] += 1
        self.requests.append((path, agent[1] if agent else ""))
        if path in self._asked:
            self._asked[path].set()
        match path:
            case own if own in self.pages:
                _send(writer, 200, "text/html", f"<!doctype html><title>T</title>{self.pages[own]}".encode())
            case moved if moved in self.redirects:
                _send(writer, 302, "text/html", b"", f"Location: {self.redirects[moved]}\r\n")
            case "/never":
                await asyncio.Event().wait()
            case "/held":
                await self.release.wait()
                _send(writer, 200, "text/html", b"<h1>Held</h1>")
            case "/slow":
                await asyncio.sleep(0.3)
                _send(writer, 200, "text/html", b"<h1>Slow</h1>")
            case "/redirect":
                _send(writer, 302, "text/html", b"", "Location: /\r\n")
            case "/broken":
                _send(writer, 500, "text/html", b"<h1>500</h1>")
            case "/cut":
                return False
            case "/pixel.png":
                _send(writer, 200, "image/png", _IMAGE)
            case "/style.css":
                _send(writer, 200, "text/css", b"h1{color:navy}" + b" " * 20_000)
            case "/code.js":
                _send(writer, 200, "text/javascript", b"self.code=1")
            case "/bottom":
                _send(writer, 204, "text/plain", b"")
            case picture if picture.startswith("/picture/"):
                _send(writer, 200, "image/svg+xml", _PICTURE)
            case page if page in _PAGES:
                _send(writer, 200, "text/html", f"<!doctype html><title>T</title>{_PAGES[page]}".encode())
            case _:
                _send(writer, 404, "text/html", b"<h1>404</h1>")
        return True


def _send(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes, more: str = "") -> None:
    head = f"HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)


@asynccontextmanager
async def open_site(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """A site on a free loopback port; https with `tls`."""
    site = Site()
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.ports.append(writer.get_extra_info("peername")[1])
        task = asyncio.create_task(site._serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    site.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
