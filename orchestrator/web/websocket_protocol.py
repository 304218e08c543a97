"""uvicorn's WebSocket protocol, with the connection itself offered to the application as a `FrameWriter`.

What is added: ready frames go straight to the transport; a peer that takes nothing more can not keep its
connection open, however it is to be closed.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.transports import BaseTransport, Transport
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from orchestrator.core.outbox import SlowLimits

from .frame_writer import EXTENSION
from .packet import Packet

#: Seconds that a closing handshake may take before the connection is cut.
CLOSE_GRACE = 2.0
#: Bytes that the kernel takes before they are sent (Linux): what a slow client has not got yet stays here,
#: where newer states replace it.
_UNSENT = 32 << 10


class ConnectionWriter:
    """The connection as a `FrameWriter`. Small and flat: thousands of these are gone through per message."""

    __slots__ = ("_transport", "on_drain", "paused")

    def __init__(self, transport: Transport) -> None:
        self.paused = False
        self.on_drain: Callable[[], None] | None = None
        self._transport = transport

    @property
    def buffered(self) -> int:
        return self._transport.get_write_buffer_size()

    def write(self, packet: Packet) -> None:
        transport = self._transport
        if not transport.is_closing():
            transport.write(packet.frame)

    def abort(self) -> None:
        self._transport.abort()


class FanOutProtocol(WebSocketsSansIOProtocol):
    """Offers a `ConnectionWriter` as the scope extension `EXTENSION`."""

    writer: ConnectionWriter

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.close_timeout = CLOSE_GRACE
        self.writer = ConnectionWriter(self.transport)
        self.transport.set_write_buffer_limits(high=SlowLimits().high_water)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application's task has been made, but runs only after this has returned.
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self.writer

    def pause_writing(self) -> None:
        super().pause_writing()
        self.writer.paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.writer.paused = False
        if self.writer.on_drain is not None:
            self.writer.on_drain()

    def send_receive_event_to_app(self) -> None:
        """Of bytes that are no text uvicorn would log a traceback, as often as a client sends them."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                # What comes after a close of the client's own does not matter any more.
                if self.conn.state is State.OPEN:
                    self.conn.send_close(1007)
                    self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    # --- closing, against peers that do not read: `transport.close` would wait for them for ever ----------

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.writer.on_drain = None

    def shutdown(self) -> None:
        super().shutdown()
        self._cut_later()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._cut_later()

    def _cut_later(self) -> None:
        self.loop.call_later(CLOSE_GRACE, self.transport.abort)
