"""Asks DNS servers for the addresses of a name: for jobs that bring servers of their own."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import struct
from collections.abc import Sequence

from broker_config.address import IPAddress

_A, _CNAME, _AAAA = 1, 5, 28
_TRUNCATED = 0x0200
_NXDOMAIN = 3
#: Until the next server is asked, s.
_PATIENCE = 2.0
_MAX_ADDRESSES = 16


class NameNotResolved(Exception):
    """In words: which name, and what the servers said."""


async def lookup(name: str, servers: Sequence[tuple[str, int]]) -> list[IPAddress]:
    """The addresses of `name`, IPv4 first. The servers are asked one after the other until one answers.

    Raises `NameNotResolved`.
    """
    trouble = "no server is given"
    for server in servers:
        answers = await asyncio.gather(*(_ask(name, k, server) for k in (_A, _AAAA)), return_exceptions=True)
        found: list[IPAddress] = []
        faults: list[BaseException] = []
        for answer in answers:
            if isinstance(answer, list):
                found += answer
            elif isinstance(answer, OSError | ValueError):
                faults.append(answer)
            else:
                raise answer
        if found:
            return found[:_MAX_ADDRESSES]
        if not faults:
            raise NameNotResolved(f"{name} has no address, says the DNS server {server[0]}:{server[1]}")
        trouble = f"{server[0]}:{server[1]}: {str(faults[0]) or 'no answer'}"
    raise NameNotResolved(f"{name} cannot be looked up: {trouble}")


async def _ask(name: str, kind: int, server: tuple[str, int]) -> list[IPAddress]:
    number = secrets.randbelow(1 << 16)
    labels = name.encode("ascii").split(b".")
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name} is not a domain name")
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + struct.pack(">HH", kind, 1)
    query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + question
    async with asyncio.timeout(_PATIENCE):
        answer = await _by_udp(query, server)
        if int.from_bytes(answer[2:4], "big") & _TRUNCATED:
            answer = await _by_tcp(query, server)
    return _addresses(answer, kind, len(query))


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, query: bytes) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._query = query

    def datagram_received(self, data: bytes, addr: object) -> None:
        # Number and question must be ours: others may guess at a port.
        size = len(self._query)
        ours = data[:2] == self._query[:2] and data[12:size].lower() == self._query[12:].lower()
        if len(data) >= size and ours and data[2] & 0x80 and not self.future.done():
            self.future.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(exc)


async def _by_udp(query: bytes, server: tuple[str, int]) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Answer(query), remote_addr=server)
    try:
        transport.sendto(query)
        return await protocol.future
    finally:
        transport.close()


async def _by_tcp(query: bytes, server: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack(">H", len(query)) + query)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    except asyncio.IncompleteReadError as e:
        raise ValueError("an answer that ends too early") from e
    finally:
        writer.close()
    if len(answer) < len(query) or answer[:2] != query[:2]:
        raise ValueError("an answer to another question")
    return answer


def _addresses(answer: bytes, kind: int, position: int) -> list[IPAddress]:
    """Those of the kind in the answer section, which begins behind the question."""
    code = answer[3] & 0x0F
    if code == _NXDOMAIN:
        return []
    if code:
        raise ValueError(f"the server answers with error {code}")
    found: list[IPAddress] = []
    try:
        for _ in range(int.from_bytes(answer[6:8], "big")):
            position = _behind_name(answer, position)
            record, _, _, size = struct.unpack_from(">HHIH", answer, position)
            data = answer[position + 10 : position + 10 + size]
            position += 10 + size
            if record == kind:
                found.append(ipaddress.ip_address(data))
    except (IndexError, struct.error) as e:
        raise ValueError("an answer that cannot be read") from e
    return found


def _behind_name(answer: bytes, position: int) -> int:
    while length := answer[position]:
        if length >= 0xC0:
            return position + 2
        position += 1 + length
    return position + 1
