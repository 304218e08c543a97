"""A WebSocket client on a bare socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping


class RawSocket:
    """A client that shows the very bytes, and reads only when told."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    async def connect(
        cls, port: int, *, buffer: int = 0, headers: Mapping[str, str] | None = None
    ) -> RawSocket:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        head = (
            "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n"
        )
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        raw = cls(sock)
        await loop.sock_sendall(sock, (head + more + "\r\n").encode())
        answer = await raw.read_until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in answer
        return raw

    async def subscribe(self, *jobs: str, logs: bool = False) -> None:
        payload = json.dumps({"type": "subscribe", "jobs": jobs, "logs": logs}).encode()
        assert len(payload) < 65_536
        length = (
            bytes([0x80 | len(payload)])
            if len(payload) < 126
            else bytes([0x80 | 126]) + len(payload).to_bytes(2, "big")
        )
        # Masked with zeros, which leaves the payload as it is.
        await asyncio.get_running_loop().sock_sendall(self.sock, b"\x81" + length + bytes(4) + payload)

    async def read_until(self, end: bytes, within: float = 10.0) -> bytes:
        data = b""
        async with asyncio.timeout(within):
            while end not in data:
                part = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20)
                if not part:
                    raise EOFError
                data += part
        return data

    async def read_to_end(self, within: float = 10.0) -> int:
        """Bytes until the connection ends, or is reset."""
        total = 0
        async with asyncio.timeout(within):
            try:
                while part := await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20):
                    total += len(part)
            except ConnectionResetError:
                pass
        return total
