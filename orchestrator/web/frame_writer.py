"""How packets reach a client: straight into the connection, or through any ASGI server's own sending."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from starlette.websockets import WebSocket, WebSocketDisconnect

from .packet import Packet

#: Name of the scope extension under which a server offers its connection as a `FrameWriter`.
EXTENSION = "trafficbuster.frames"


class FrameWriter(Protocol):
    """`paused` is True from when the write buffer rose above its high-water mark until it has drained; then
    `on_drain` is called."""

    paused: bool
    on_drain: Callable[[], None] | None

    @property
    def buffered(self) -> int:
        """Bytes that the connection has not taken yet."""
        ...

    def write(self, packet: Packet) -> None:
        """Never blocks; does nothing once the connection closes."""
        ...

    def abort(self) -> None:
        """Cut the connection at once; what is buffered is lost."""
        ...


class SendWriter:
    """A `FrameWriter` over `websocket.send_text`, for servers without the extension. `run` does the sending
    and must run as long as the socket is used."""

    def __init__(self, websocket: WebSocket, high_water: int) -> None:
        self.paused = False
        self.on_drain: Callable[[], None] | None = None
        self.buffered = 0
        self._websocket = websocket
        self._high_water = high_water
        self._packets: deque[Packet] = deque()
        self._wake = asyncio.Event()
        self._aborted = False

    def write(self, packet: Packet) -> None:
        if self._aborted:
            return
        self._packets.append(packet)
        self.buffered += len(packet)
        self.paused = self.buffered > self._high_water
        self._wake.set()

    def abort(self) -> None:
        self._aborted = True
        self._wake.set()

    async def run(self) -> None:
        """Ends when the connection is cut or the client is gone."""
        while not self._aborted:
            self._wake.clear()
            while self._packets and not self._aborted:
                packet = self._packets.popleft()
                try:
                    await self._websocket.send_text(packet.text)
                except (WebSocketDisconnect, OSError, RuntimeError):
                    return
                self.buffered -= len(packet)
            if self.paused:
                self.paused = False
                if self.on_drain is not None:
                    self.on_drain()
            if not self._packets:
                await self._wake.wait()


def offered_writer(websocket: WebSocket) -> FrameWriter | None:
    """The connection itself, where the server offers it."""
    return cast("FrameWriter | None", (websocket.scope.get("extensions") or {}).get(EXTENSION))
