"""A message to WebSocket clients, serialised and framed once for all of them."""

from __future__ import annotations

from websockets.frames import Frame, Opcode

from broker_config import codec
from broker_config.api import ServerMessage


class Packet:
    """`frame` is the ready WebSocket frame; `len` is its size in bytes. Immutable."""

    __slots__ = ("_start", "frame")

    def __init__(self, message: ServerMessage) -> None:
        payload = codec.encode(message)
        self.frame = Frame(Opcode.TEXT, payload).serialize(mask=False, extensions=[])
        self._start = len(self.frame) - len(payload)

    @property
    def text(self) -> str:
        """The message itself, for servers that frame by themselves."""
        return self.frame[self._start :].decode()

    def __len__(self) -> int:
        return len(self.frame)
