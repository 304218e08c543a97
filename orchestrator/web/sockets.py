"""`/ws`: clients subscribe to jobs and to the fleet.

Close codes: 1003 a binary message, 1008 too many messages, 1009 a message over 64 KiB, 1011 no answer to a
ping, 1012 the orchestrator ends, 4401 the login or token has ended, 4403 the right to what is followed has. A
client that does not read is cut off without one.
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
from orchestrator.core.access import KNOWN, may

from .access_check import known
from .audit_trail import note
from .authentication import SUBPROTOCOL
from .fan_out import FanOut
from .frame_writer import FrameWriter, SendWriter, offered_writer
from .packet import Packet
from .problems import RequestRefused, response_of
from .socket_client import SocketClient
from .socket_watch import FLEET_ACCESS, Member
from .web_state import fan_out, socket_watch, web

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
    try:
        who = known(websocket, KNOWN)
    except RequestRefused as e:
        note(websocket, "socket.open", "refused", detail=e.detail)
        await websocket.send_denial_response(response_of(e))
        return
    rooms = fan_out(websocket)
    limits = web(websocket).limits
    offers = websocket.scope.get("subprotocols", ())
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offers else None)
    async with _writer(websocket, limits.high_water) as writer:
        client = SocketClient(writer, limits)
        refusal: tuple[int, str] | None = None
        try:
            async with asyncio.timeout(None) as scope:
                with socket_watch(websocket).watched(who, client, scope) as member:
                    await socket_watch(websocket).look_at(member)
                    refusal = await _listen(websocket, member, rooms)
        except WebSocketDisconnect:
            refusal = None
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            # Before anything else: nothing may be sent any more to someone without the right to it.
            rooms.leave(client)
        if member.closing is not None:
            note(websocket, "socket.cut", detail=member.closing.reason)
        refusal = member.closing or refusal
        if client.cut:
            logger.info("the WebSocket client at %s was cut off: %s", _name(websocket), client.cut)
        elif refusal is not None:
            await _close(websocket, writer, *refusal)


async def _listen(websocket: WebSocket, member: Member, rooms: FanOut) -> tuple[int, str] | None:
    """Carry out what the client asks; close code and reason, or None if it has left."""
    client = member.client
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
            await _subscribe(websocket, message, member, rooms)
        else:
            _unsubscribe(message, member, rooms)


async def _subscribe(websocket: WebSocket, message: Subscribe, member: Member, rooms: FanOut) -> None:
    client, watch = member.client, socket_watch(websocket)
    if not message.jobs and not message.fleet:
        client.answer(_problem("the subscription names neither jobs nor the fleet"))
    if message.fleet and may(member.principal, FLEET_ACCESS):
        member.follows_fleet = True
        rooms.follow_fleet(client, sees_jobs=member.principal.all_projects)
    elif message.fleet:
        note(websocket, "read", "refused", object="fleet", detail="by a subscription")
        client.answer(_problem("the fleet takes the role viewer of the fleet; an admin can change that"))
    jobs = list(dict.fromkeys(message.jobs))
    for job in jobs[:MAX_JOBS]:
        if job not in client.jobs and len(client.jobs) >= MAX_JOBS:
            client.answer(
                _problem(f"this socket follows {MAX_JOBS} jobs already; unsubscribe from some", job)
            )
            continue
        try:
            token(job, "job id")
            if not await watch.may_follow(member, job):
                words = "by a subscription; it belongs to a project of others"
                note(websocket, "read", "refused", object=job, detail=words)
                raise JobNotFound.of(job)
            await rooms.follow(client, job, since=message.since.get(job), logs=message.logs)
            if not await watch.may_follow(member, job):
                # Taken away meanwhile.
                rooms.unfollow(client, job)
                raise JobNotFound.of(job)
        except (NameRefused, JobNotFound):
            client.answer(_problem(str(JobNotFound.of(job[:64])), job))
        except BrokerError as e:
            client.answer(_problem(str(e), job, again=True))
    if len(jobs) > MAX_JOBS:
        # Each is asked for at the broker, whether it exists or not.
        words = f"one subscription names at most {MAX_JOBS} jobs; this one and what follows it are left out"
        client.answer(_problem(words, jobs[MAX_JOBS]))


def _unsubscribe(message: Unsubscribe, member: Member, rooms: FanOut) -> None:
    for job in message.jobs:
        rooms.unfollow(member.client, job)
    if message.fleet:
        member.follows_fleet = False
        rooms.unfollow_fleet(member.client)


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
