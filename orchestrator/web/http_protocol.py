"""uvicorn's HTTP protocol, with a bound for how long a request's head may take.

Nothing is known of who sends one, so nothing else would keep somebody from holding every connection open.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import Transport

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds from the connection, or from the first byte of a later request, to the end of the head.
HEAD_WITHIN = 10.0


class HeadBoundProtocol(H11Protocol):
    """Cuts a connection whose next request does not begin in time."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _look(self) -> None:
        if not self._waits():
            self._forget()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD_WITHIN, self._cut)

    def _waits(self) -> bool:
        """Whether the head of a request is not there yet. A WebSocket has a protocol of its own."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return False
        return self.cycle is None or self.cycle.response_complete

    def _cut(self) -> None:
        self._due = None
        if self._waits():
            self.transport.abort()

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
