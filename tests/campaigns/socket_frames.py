"""Broken frames against the WebSocket: none may hurt the orchestrator or another client.

    python -m tests.campaigns.socket_frames --frames 200000 [--seed 1]

Frames are made from good client messages and changed: in their bytes, their opcode, length, mask, fragments.
A good client stays connected meanwhile and must go on being served.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import struct
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect

from tests.campaigns.served import Served, served

_GOOD = (
    {"type": "subscribe", "jobs": ["j-1"], "logs": True, "since": {"j-1": 3}},
    {"type": "subscribe", "fleet": True},
    {"type": "unsubscribe", "jobs": ["j-1"], "fleet": True},
)
#: A client that sends more at once is cut off.
_AT_ONCE = 50
_CLIENTS = 8


def message(rng: random.Random) -> bytes:
    """A client's message, mostly not quite right."""
    text = json.dumps(rng.choice(_GOOD))
    data = bytearray(text.encode())
    match rng.randrange(8):
        case 0:
            pass
        case 1:
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 2:
            del data[rng.randrange(len(data)) :]
        case 3:
            at = rng.randrange(len(data))
            data[at:at] = rng.randbytes(rng.randint(1, 40))
        case 4:
            data = bytearray(b"[" * rng.randint(1, 5_000))
        case 5:
            value = rng.choice([None, 1e400, -1, "\x00", "a.b.*", "\ud800", [], {}, "x" * 70_000, True])
            changed = dict(rng.choice(_GOOD))
            changed[rng.choice([*changed, "new"])] = value  # type: ignore[assignment]
            data = bytearray(json.dumps(changed).encode("utf-8", "surrogatepass"))
        case 6:
            data = bytearray(rng.randbytes(rng.randint(0, 200)))
        case _:
            many = [f"j-{rng.randrange(10**6)}" for _ in range(rng.randint(0, 400))]
            data = bytearray(json.dumps({"type": "subscribe", "jobs": many}).encode())
    return bytes(data)


def frame(rng: random.Random, payload: bytes) -> bytes:
    """A frame around it, mostly in order."""
    opcode, fin, rsv, masked = 1, 0x80, 0, True
    if rng.random() < 0.25:
        match rng.randrange(6):
            case 0:
                opcode = rng.randrange(16)
            case 1:
                fin = 0
            case 2:
                rsv = rng.choice([0x10, 0x20, 0x40])
            case 3:
                masked = False
            case 4:
                opcode = rng.choice([8, 9, 10])
            case _:
                opcode, payload = 8, struct.pack("!H", rng.randrange(65_536)) + payload[: rng.randint(0, 200)]
    size = len(payload)
    if rng.random() < 0.03:
        size = rng.choice([0, 1, 125, 126, 65_535, 65_536, 2**31, 2**63 - 1, 2**64 - 1])
    head = bytearray([fin | rsv | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head.append(mask | size)
    elif size < 65_536:
        head += struct.pack("!BH", mask | 126, size)
    else:
        head += struct.pack("!BQ", mask | 127, size)
    if not masked:
        return bytes(head) + payload
    key = rng.randbytes(4)
    return bytes(head) + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


async def attack(server: Served, rng: random.Random, ends: Counter[str]) -> int:
    """One connection; how many frames went out."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    key = base64.b64encode(rng.randbytes(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {server.token}\r\n\r\n".encode()
    )
    sent = 0
    try:
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise AssertionError(head.decode(errors="replace"))
            for _ in range(rng.randint(1, _AT_ONCE)):
                if writer.is_closing():
                    break
                writer.write(frame(rng, message(rng)))
                sent += 1
            with suppress(OSError):
                await writer.drain()
                if writer.can_write_eof():
                    writer.write_eof()
            # All of what it says, until it closes.
            rest = b""
            while chunk := await reader.read(65_536):
                rest = (rest + chunk)[-200:]
            at = rest.rfind(b"\x88")
            ends["closed in order" if at >= 0 else "cut"] += 1
    except (ConnectionError, asyncio.IncompleteReadError):
        ends["cut"] += 1
    except TimeoutError:
        ends["neither closed nor cut"] += 1
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return sent


async def campaign(frames: int, seed: int) -> dict[str, Any]:
    """`wrong` is empty if the orchestrator went on serving, and printed no traceback."""
    wrong: list[str] = []
    ends: Counter[str] = Counter()
    sent = 0
    with tempfile.TemporaryDirectory(prefix="frames-") as name:
        async with served(Path(name)) as server:
            headers = {"Authorization": f"Bearer {server.token}"}
            url = server.url.replace("http", "ws", 1) + "/ws"

            async def client(n: int) -> None:
                nonlocal sent
                rng = random.Random(f"{seed} {n}")
                while sent < frames:
                    sent += await attack(server, rng, ends)

            async with connect(url, additional_headers=headers) as good, httpx.AsyncClient() as http:
                async with asyncio.TaskGroup() as group:
                    for n in range(_CLIENTS):
                        group.create_task(client(n))
                await good.send(json.dumps({"type": "subscribe", "fleet": True}))
                async with asyncio.timeout(10):
                    first = json.loads(await good.recv())
                if first.get("type") != "fleet":
                    wrong.append(f"a good client was told {first}")
                health = await http.get(f"{server.url}/api/v1/ready")
                if health.status_code != 200:
                    wrong.append(f"it is not ready any more: {health.text}")
            if server.process.returncode is not None:
                wrong.append(f"it ended with {server.process.returncode}")
            if tracebacks := server.tracebacks():
                wrong.append(f"{tracebacks} tracebacks in its log: {server.log.read_text()[-3000:]}")
    if ends["neither closed nor cut"]:
        wrong.append(f"{ends['neither closed nor cut']} connections were neither closed nor cut")
    return {"frames": sent, "connections": ends.total(), "ends": dict(ends), "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = asyncio.run(campaign(args.frames, args.seed))
    print(json.dumps(result, indent=1))
    raise SystemExit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
