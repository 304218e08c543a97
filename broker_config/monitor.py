"""The monitoring port of a nats-server on this machine."""

from __future__ import annotations

import asyncio


async def healthy(port: int) -> bool:
    """True when the server says that it is well."""
    return (await _health(port))[0] == 200


async def write_error(port: int) -> str:
    """What keeps a stream from being written, "" if nothing does. A nats-server that once met a full disk
    takes no more messages until it is started again, whatever room there is by then."""
    status, body = await _health(port)
    return body if status == 503 and "write error" in body else ""


async def _health(port: int) -> tuple[int, str]:
    """Status and body of `/healthz`; status 0 if nobody answers in time."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                head, _, body = (await reader.read(65_536)).partition(b"\r\n\r\n")
            finally:
                writer.close()
        return int(head.split()[1]), body.decode(errors="replace").strip()
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0, ""
