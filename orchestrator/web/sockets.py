"""`/ws`: clients subscribe to jobs and to the fleet.

Close codes: 1003 a binary message, 1008 too many messages, 1009 a message over 64 KiB, 1011 no answer to a
ping, 1012 the orchestrator ends. A client that does not read is cut off without one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from broker_config.api import ClientMessage, SocketProblem, Subscribe, Unsubscribe
from broker_config.errors import BrokerError, JobNotFound, NameRefused
from broker_config.subjects import token

from .fan_out import FanOut
from .frame_writer import FrameWriter, SendWriter, offered_writer
from .packet import Packet
from .socket_client import SocketClient
from .web_state import fan_out, web

logger = logging.getLogger(__name__)

#: Largest message of a client, bytes.
MAX_MESSAGE = 64 << 10
#: Jobs that one socket may follow.
MAX_JOBS = 200
#: Messages that a client may send at once, and a second in the long run.
BURST = 60
RATE = 20.0

_CLOSE_WITHIN = 2.0
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


class RateGate:
    """A token bucket; `now` in seconds of any one clock."""

    def __init__(self, burst: int, rate: float, now: float) -> None:
        self._tokens = float(burst)
        self._burst = burst
        self._rate = rate
        self._at = now

    def passes(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def socket(websocket: WebSocket) -> None:
    """Serve one client until it leaves or is cut off."""
    rooms = fan_out(websocket)
    limits = web(websocket).limits
    await websocket.accept()
    async with _writer(websocket, limits.high_water) as writer:
        client = SocketClient(writer, limits)
        try:
            refusal = await _listen(websocket, client, rooms)
        except WebSocketDisconnect:
            refusal = None
        finally:
            rooms.leave(client)
        if client.cut:
            logger.info("the WebSocket client at %s was cut off: %s", _name(websocket), client.cut)
        elif refusal is not None:
            await _close(websocket, writer, *refusal)


async def _listen(websocket: WebSocket, client: SocketClient, rooms: FanOut) -> tuple[int, str] | None:
    """Carry out what the client asks; close code and reason, or None if it has left."""
    clock = asyncio.get_running_loop().time
    gate = RateGate(BURST, RATE, clock())
    while True:
        event = await websocket.receive()
        if event["type"] == "websocket.disconnect":
            return None
        if not gate.passes(clock()):
            return 1008, f"too many messages; at most {RATE:g} a second"
        text = event.get("text")
        if text is None:
            return 1003, "send JSON as text"
        if len(text) > MAX_MESSAGE:
            return 1009, f"a message is over {MAX_MESSAGE} bytes"
        try:
            message = _decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as e:
            client.answer(_problem(f"the message cannot be read: {str(e)[:300]}"))
            continue
        if isinstance(message, Subscribe):
            await _subscribe(message, client, rooms)
        else:
            _unsubscribe(message, client, rooms)


async def _subscribe(message: Subscribe, client: SocketClient, rooms: FanOut) -> None:
    if not message.jobs and not message.fleet:
        client.answer(_problem("the subscription names neither jobs nor the fleet"))
    if message.fleet:
        rooms.follow_fleet(client)
    for job in dict.fromkeys(message.jobs):
        if job not in client.jobs and len(client.jobs) >= MAX_JOBS:
            client.answer(
                _problem(f"this socket follows {MAX_JOBS} jobs already; unsubscribe from some", job)
            )
            continue
        try:
            token(job, "job id")
            await rooms.follow(client, job, since=message.since.get(job), logs=message.logs)
        except (NameRefused, JobNotFound):
            what = f"there is no job {job[:64]}; `tb jobs list` shows those that there are"
            client.answer(_problem(what, job))
        except BrokerError as e:
            client.answer(_problem(str(e), job, again=True))


def _unsubscribe(message: Unsubscribe, client: SocketClient, rooms: FanOut) -> None:
    for job in message.jobs:
        rooms.unfollow(client, job)
    if message.fleet:
        rooms.unfollow_fleet(client)


@asynccontextmanager
async def _writer(websocket: WebSocket, high_water: int) -> AsyncIterator[FrameWriter]:
    offered = offered_writer(websocket)
    if offered is not None:
        yield offered
        return
    writer = SendWriter(websocket, high_water)
    sending = asyncio.create_task(writer.run(), name="websocket sending")
    try:
        yield writer
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def _close(websocket: WebSocket, writer: FrameWriter, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(_CLOSE_WITHIN):
            await websocket.close(code, reason)
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        writer.abort()


def _problem(detail: str, job: str = "", *, again: bool = False) -> Packet:
    return Packet(SocketProblem(detail=detail, job=job[:64], again=again))


def _name(websocket: WebSocket) -> str:
    return f"{websocket.client.host}:{websocket.client.port}" if websocket.client else "an unknown address"
