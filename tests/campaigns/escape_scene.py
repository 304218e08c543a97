"""What surrounds the browser in the escape campaign: the site that it may visit, foreign listeners that it
must not reach, a resolver, and an eye on every packet.

In a network namespace of its own (Linux, by `unshare`) foreign hosts have public names and addresses, the
system's resolver is ours, and each packet is seen. Elsewhere they are names below `localhost`, seen by their
listeners only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from broker_config import guard

SITE = "site.localhost"
FOREIGN4, FOREIGN6 = "203.0.113.7", "2001:db8::7"
#: In the namespace, the site's second name: the first lookup of each round leads to it, later ones abroad.
REBOUND, REBOUND_ADDRESS = "rebound.test", "198.51.100.10"
INSIDE = "ESCAPE_CAMPAIGN_INSIDE"
_SET_UP = f"""
ip link set lo up
ip addr add {FOREIGN4}/32 dev lo
ip addr add {REBOUND_ADDRESS}/32 dev lo
ip -6 addr add {FOREIGN6}/128 dev lo nodad
ip link add away type veth peer name home
ip link set home up
ip addr add 192.0.2.50/24 dev away
ip -6 addr add 2001:db8:1::50/64 dev away nodad
ip link set away up
ip route add default dev away
ip -6 route add default dev away
mount --bind "$1" /etc/resolv.conf
shift
exec "$@"
"""


def enter(arguments: Sequence[str]) -> int | None:
    """Run this campaign again in a namespace of its own; its exit code, or None where there can be none."""
    unshare = shutil.which("unshare")
    if os.environ.get(INSIDE) or unshare is None or shutil.which("ip") is None:
        return None
    # With processes of its own too: however this ends, no browser is left behind.
    flags = ["-nmpf", "--mount-proc", "--kill-child"] + ([] if os.geteuid() == 0 else ["-r"])
    with tempfile.TemporaryDirectory(prefix="escape-") as folder:
        resolv = Path(folder) / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions attempts:1 timeout:2\n")
        command = guard.command([unshare, *flags, "sh", "-ec", _SET_UP, "sh", str(resolv)])
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
            return None
        inner = [sys.executable, "-m", "tests.campaigns.escape", *arguments]
        return subprocess.run([*command, *inner], env={**os.environ, INSIDE: "1"}, check=False).returncode


def inside() -> bool:
    return bool(os.environ.get(INSIDE))


class Scene:
    """`hits` counts, by way, what arrived at listeners (requests, datagrams, bare connections) and questions
    at the resolver; `packets` those on the wire, where they can be seen; `visits` what the site was asked
    for. A way has its own foreign port."""

    def __init__(self, ways: Sequence[str], pages: dict[str, tuple[str, str]], ports: Sequence[int]) -> None:
        self.hits: Counter[str] = Counter()
        self.packets: Counter[str] = Counter()
        self.visits: Counter[str] = Counter()
        self.site_port = ports[0]
        self.ports = dict(zip(ways, ports[1:], strict=False))
        self._ways = {port: way for way, port in self.ports.items()}
        self._pages = pages
        self._rebound = 0
        self._seen = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def site(self) -> str:
        return f"http://{SITE}:{self.site_port}"

    def host(self, way: str) -> str:
        return f"{way}.foreign.test" if inside() else f"{way}.localhost"

    def begin(self, way: str) -> None:
        self._rebound = 0

    def clear(self) -> None:
        self.hits.clear()
        self.packets.clear()
        self.visits.clear()

    def seen(self, way: str) -> bool:
        return bool(self.hits[way] or self.packets[way])

    async def reached(self, way: str, within: float) -> bool:
        """Whether anything of the way arrives."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self.seen(way):
                    self._seen.clear()
                    await self._seen.wait()
        return self.seen(way)

    def hit(self, way: str) -> None:
        self.hits[way] += 1
        self._seen.set()

    def packet(self, way: str) -> None:
        self.packets[way] += 1
        self._seen.set()

    # The site

    def on_site(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._own(self._serve_site(reader, writer))

    async def _serve_site(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode("latin1")
                path, _, query = line.split(" ")[1].partition("?")
                _, kind, *rest = path.split("/")
                way = rest[0] if rest else ""
                self.visits[rest[-1] if rest else ""] += 1
                status, kind_of, body, more = 200, "text/html", "<!doctype html><p>ok", ""
                if kind == "to":
                    status, more = int(way), f"Location: {unquote(query)}\r\n"
                elif kind == "page" and way in self._pages:
                    more, body = self._pages[way]
                elif kind == "script":
                    kind_of, body = "text/javascript", self._pages[f"{way}.js"][1]
                raw = body.encode()
                writer.write(
                    f"HTTP/1.1 {status} .\r\nContent-Type: {kind_of}\r\nContent-Length: {len(raw)}\r\n"
                    f"Cache-Control: no-store\r\n{more}\r\n".encode()
                    + raw
                )
                await writer.drain()
        writer.close()

    # Foreign parts

    def on_foreign(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At a foreign address the site's own port is where rebinding leads.
        self.hit(self._ways.get(writer.get_extra_info("sockname")[1], "rebinding"))
        self._own(self._serve_foreign(reader, writer))

    async def _serve_foreign(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(5):
                await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n"
                b"Access-Control-Allow-Headers: *\r\nAccess-Control-Allow-Methods: *\r\n"
                b"Content-Length: 2\r\nConnection: close\r\n\r\nok"
            )
            await writer.drain()
        writer.close()

    def name_asked(self, name: str) -> str | None:
        """Note a question to the resolver; the address to answer with."""
        if name == REBOUND:
            self._rebound += 1
            return REBOUND_ADDRESS if self._rebound <= 2 else FOREIGN4  # A and AAAA, or A twice
        if name.endswith(".localhost") or name == "localhost":
            return "127.0.0.1"
        way = name.split(".")[0]
        self.hit(way if way in self.ports else f"name {name}")
        return FOREIGN4

    def on_packet(self, frame: bytes) -> None:
        """An IP packet without link header."""
        if frame[0] >> 4 == 4:
            address, protocol, rest = socket.inet_ntoa(frame[16:20]), frame[9], frame[(frame[0] & 15) * 4 :]
        else:
            address, protocol, rest = socket.inet_ntop(socket.AF_INET6, frame[24:40]), frame[6], frame[40:]
        if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            return
        port = struct.unpack_from(">H", rest, 2)[0]
        if port in self._ways:
            self.packet(self._ways[port])
        elif address == FOREIGN4 and port == self.site_port:
            self.packet("rebinding")
        elif not (address.startswith("127.") or address in ("::1", REBOUND_ADDRESS)):
            source = struct.unpack_from(">H", rest)[0]
            # What listeners answer goes back to where the browser's socket is bound.
            if source not in self._ways and source != self.site_port:
                self.packet(f"to {address}:{port}")

    def _own(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, scene: Scene, way: str) -> None:
        self._scene, self._way = scene, way

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._scene.hit(self._way)


class _Resolver(asyncio.DatagramProtocol):
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, position = [], 12
        while length := data[position]:
            labels.append(data[position + 1 : position + 1 + length].decode("latin1"))
            position += 1 + length
        question = data[12 : position + 5]
        address = self._scene.name_asked(".".join(labels).lower())
        wanted = struct.unpack_from(">H", data, position + 1)[0]
        answers = b""
        if address and wanted == 1:
            answers = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if answers else 0, 0, 0)
        self._transport.sendto(head + question + answers, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def open_scene(
    ways: Sequence[str], pages: dict[str, tuple[str, str]], ports: Sequence[int]
) -> AsyncIterator[Scene]:
    """`pages` holds header lines and body by way. `ports` are free ones, of which the first is the site's."""
    scene = Scene(ways, pages, ports)
    loop = asyncio.get_running_loop()
    servers = [await asyncio.start_server(scene.on_site, "127.0.0.1", scene.site_port)]
    endpoints: list[asyncio.BaseTransport] = []
    eye: socket.socket | None = None
    try:
        for way, port in scene.ports.items():
            hosts: list[str] = ["0.0.0.0", "::"] if inside() else ["127.0.0.1", "::1"]
            for host in hosts:
                servers.append(await asyncio.start_server(scene.on_foreign, host, port))
                transport, _ = await loop.create_datagram_endpoint(
                    lambda way=way: _Datagrams(scene, way),  # type: ignore[misc]
                    sock=_datagram_socket(host, port),
                )
                endpoints.append(transport)
        if inside():
            servers.append(await asyncio.start_server(scene.on_site, REBOUND_ADDRESS, scene.site_port))
            servers.append(await asyncio.start_server(scene.on_foreign, FOREIGN4, scene.site_port))
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Resolver(scene), local_addr=("127.0.0.1", 53)
            )
            endpoints.append(transport)
            eye = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
            eye.setblocking(False)
            loop.add_reader(eye, _look, eye, scene)
        yield scene
    finally:
        if eye is not None:
            loop.remove_reader(eye)
            eye.close()
        for server in servers:
            server.close()
        for endpoint in endpoints:
            endpoint.close()
        await scene.close()


def _datagram_socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setblocking(False)
    sock.bind((host, port))
    return sock


def _look(eye: socket.socket, scene: Scene) -> None:
    for _ in range(1000):
        try:
            frame, link = eye.recvfrom(256)
        except BlockingIOError:
            return
        # On the loopback each packet is seen twice: as it goes, and as it comes. Here: as it goes.
        if link[2] == 4 and link[1] in (0x0800, 0x86DD):
            scene.on_packet(frame)
