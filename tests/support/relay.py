"""A TCP relay on loopback that can be cut: a network between two that stay alive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._pairs: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.is_cut = False
        #: When the last connection was let through, `time.monotonic`.
        self.joined = 0.0

    def cut(self) -> None:
        """Reset what there is, and refuse what comes."""
        self.is_cut = True
        for writer in list(self._pairs):
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        to_reader, to_writer = await asyncio.open_connection(*self._to)
        self.joined = time.monotonic()
        self._pairs |= {writer, to_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, to_writer))
                group.create_task(_copy(to_reader, writer))
        finally:
            self._pairs -= {writer, to_writer}
            writer.transport.abort()
            to_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def relay(host: str, port: int) -> AsyncIterator[Relay]:
    """Between its own `port` and the given one."""
    found = Relay(host, port)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        found.cut()
