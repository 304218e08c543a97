"""A site with a login, whose pages hand secrets out wherever pages do."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: What the site gives: a cookie by header, one by script, and a token in an address.
COOKIES = ("hdr-c00kie-4711", "scr-c00kie-0815")
TOKEN = "tok-en-in-url-99"
_LOGIN = f"""<!doctype html><title>Login</title><h1>Login</h1>
<form action="/in?access_token={TOKEN}" method=post>
<label>Name <input name=user></label><label>Password <input type=password name=pw></label>
<label>Pin <input name=code></label><button>Go</button></form>
<script>document.cookie = 'script={COOKIES[1]}'; console.log('cookies', document.cookie);
document.querySelector('form').onsubmit = e => console.log('sends', e.target.user.value, e.target.pw.value);
fetch('/api', {{method: 'POST',
  headers: {{'Authorization': 'Bearer abcdefghij0123456789', 'X-Api-Key': 'key-' + 54321}},
  body: JSON.stringify({{password: 'typed-by-' + 'script-66'}})}})</script>"""


class SecretSite:
    """`answer` is the status of the page behind the login. `bodies` are what was sent, by path."""

    def __init__(self) -> None:
        self.url = ""
        self.answer = 500
        self.bodies: dict[str, str] = {}
        #: Each address that was asked for.
        self.asked: list[str] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
                self.asked.append(head.split(" ", 2)[1])
                path = self.asked[-1].partition("?")[0]
                size = re.search(r"(?i)content-length: (\d+)", head)
                self.bodies[path] = (await reader.readexactly(int(size[1]) if size else 0)).decode()
                status, page = {"/login": (200, _LOGIN), "/api": (200, "{}")}.get(
                    path, (self.answer, f"<h1>Welcome</h1>{self.bodies[path]}")
                )
                body = page.encode()
                lines = f"HTTP/1.1 {status} .\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{lines}Set-Cookie: sid={COOKIES[0]}; Path=/\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def secret_site() -> AsyncIterator[SecretSite]:
    """The site on a free loopback port."""
    site = SecretSite()
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(site._serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
