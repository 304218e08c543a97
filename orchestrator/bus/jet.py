"""JetStream as the orchestrator uses it: publish, atomic batches, key-value with compare-and-set, reads.

On plain requests rather than nats-py's own layer, so that every error comes out as one of ours and every
header (message id, expected sequence, batch, TTL) is in our hands.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config.cancellation import kept
from broker_config.errors import BrokerError, BrokerUnavailable, Conflict, StreamFull

TIMEOUT = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Messages of one atomic batch; the server takes 1,000.
MAX_BATCH = 500
_PAGE = 500

#: JetStream error codes: the stream takes no more; compare-and-set lost; duplicate id in an atomic batch;
#: no such message.
_FULL = frozenset({10077, 10122, 10047, 10023})
_LOST_RACE = frozenset({10071, 10164})
_DUPLICATE_IN_BATCH = 10201
_NOT_FOUND = 10037
#: What a store says of a message that it does not hold.
_GONE = ("sequence", "not found", "no message", "deleted message", "store EOF")

_AWAY = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
    TimeoutError,
)


class Ack(NamedTuple):
    """A publish that the stream has taken; `duplicate` if it had it already."""

    seq: int
    duplicate: bool = False


class ToPublish(NamedTuple):
    """A message with its `Nats-Msg-Id`, and headers of its own."""

    subject: str
    data: bytes
    id: str
    headers: Mapping[str, str] = {}


class Entry(NamedTuple):
    """The last message of a subject. `deleted` for a marker: removed or expired."""

    value: bytes
    revision: int
    deleted: bool


class Stored(NamedTuple):
    """A message in a stream."""

    seq: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    #: When the stream stored it, seconds since 1970, in whole microseconds.
    at: float


class Jet:
    """One connection's JetStream. Every call raises `BrokerUnavailable` when the broker does not answer."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc

    async def api(self, call: str, body: Any = None) -> dict[str, Any]:
        """A request to `$JS.API.<call>`."""
        payload = b"" if body is None else json.dumps(body).encode()
        return await self._ask(f"$JS.API.{call}", payload)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str | None = None,
        expected_last: int | None = None,
        expected_last_of_stream: int | None = None,
        ttl: int | None = None,
    ) -> Ack:
        """Publish and wait until the stream has it. `expected_last` is the sequence that must be the last of
        the subject (0: none), `expected_last_of_stream` that of the whole stream; else `Conflict`. `ttl` in
        seconds. `StreamFull` when it takes no more."""
        headers: dict[str, str] = {}
        if message_id is not None:
            headers["Nats-Msg-Id"] = message_id
        if expected_last is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(expected_last)
        if expected_last_of_stream is not None:
            headers["Nats-Expected-Last-Sequence"] = str(expected_last_of_stream)
        if ttl is not None:
            headers["Nats-TTL"] = f"{ttl}s"
        answer = await self._ask(subject, data, headers)
        return Ack(answer["seq"], bool(answer.get("duplicate")))

    async def publish_marker(self, subject: str, expected_last: int, *, ttl: int | None = None) -> Ack:
        """Delete a key of a bucket, if its revision is still `expected_last`; else `Conflict`. The marker
        stays for `ttl` seconds, or for good."""
        headers = {"KV-Operation": "DEL", "Nats-Expected-Last-Subject-Sequence": str(expected_last)}
        if ttl is not None:
            headers["Nats-TTL"] = f"{ttl}s"
        answer = await self._ask(subject, b"", headers)
        return Ack(answer["seq"])

    async def publish_all(self, messages: Sequence[ToPublish]) -> list[Ack]:
        """Publish messages in order, in atomic batches (the stream must allow them).

        A batch that holds a message which the stream has already is published one by one instead.
        """
        acks: list[Ack] = []
        for i in range(0, len(messages), MAX_BATCH):
            part = messages[i : i + MAX_BATCH]
            acks += await self._batch(part) if len(part) > 1 else [await self._one(part[0])]
        return acks

    async def _one(self, message: ToPublish) -> Ack:
        headers = {**message.headers, "Nats-Msg-Id": message.id}
        answer = await self._ask(message.subject, message.data, headers)
        return Ack(answer["seq"], bool(answer.get("duplicate")))

    async def _batch(self, part: Sequence[ToPublish]) -> list[Ack]:
        batch = uuid.uuid4().hex
        for n, (subject, data, message_id, own) in enumerate(part[:-1], 1):
            headers = {
                **own,
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(n),
                "Nats-Msg-Id": message_id,
            }
            if n == 1:
                # The first is answered, so that a refusal shows before the rest is sent.
                await self._ask(subject, data, headers, empty_ok=True)
            else:
                await self.nc.publish(subject, data, headers=headers)
        subject, data, message_id, own = part[-1]
        headers = {
            **own,
            "Nats-Batch-Id": batch,
            "Nats-Batch-Sequence": str(len(part)),
            "Nats-Batch-Commit": "1",
            "Nats-Msg-Id": message_id,
        }
        try:
            answer = await self._ask(subject, data, headers)
        except _DuplicateInBatch:
            return [await self._one(m) for m in part]
        last = answer["seq"]
        return [Ack(last - len(part) + n) for n in range(1, len(part) + 1)]

    async def get(self, stream: str, subject: str) -> Entry | None:
        """The last message of the subject, from the stream's leader; None if there never was one."""
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except _NoSuchMessage:
            return None
        message = answer["message"]
        headers = base64.b64decode(message.get("hdrs", ""))
        deleted = b"KV-Operation:" in headers or b"Nats-Marker-Reason:" in headers
        return Entry(base64.b64decode(message.get("data", "")), message["seq"], deleted)

    async def last_seq(self, stream: str) -> int:
        """Sequence of the newest message that the stream has ever had."""
        info = await self.api(f"STREAM.INFO.{stream}")
        return int(info["state"]["last_seq"])

    async def delete(self, stream: str, seq: int) -> bool:
        """Remove one message; False if it is not there."""
        try:
            await self.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
        except _NoSuchMessage:
            return False
        except BrokerError as e:
            # Words differ with where in the stream it would have been.
            if any(words in str(e) for words in _GONE):
                return False
            raise
        return True

    async def read(self, stream: str, subject: str, *, start: int = 1, limit: int = 500) -> list[Stored]:
        """Up to `limit` messages of the subject (wildcards allowed) from sequence `start` on, in order.

        Fewer than `limit` are all that there are.
        """
        out = await self._read_any(stream, subject, start, limit)
        while len(out) < limit:
            # Any node of a cluster may have answered, one that lags behind too: the end is the leader's word.
            found = await self._next(stream, subject, out[-1].seq + 1 if out else start)
            if found is None:
                break
            out.append(found)
        return out

    async def _next(self, stream: str, subject: str, start: int) -> Stored | None:
        """The first message from `start` on, from the stream's leader."""
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", {"seq": start, "next_by_subj": subject})
        except _NoSuchMessage:
            return None
        return _got(answer["message"])

    async def _read_any(self, stream: str, subject: str, start: int, limit: int) -> list[Stored]:
        """The same from whichever node answers, in one go."""
        inbox = self.nc.new_inbox()
        sub = await self.nc.subscribe(inbox)
        body = {"seq": start, "next_by_subj": subject, "batch": limit}
        out: list[Stored] = []
        try:
            await self.nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(body).encode(), reply=inbox)
            while len(out) < limit:
                msg = await kept(sub.next_msg(timeout=TIMEOUT))
                status = (msg.headers or {}).get("Status")
                if status == "204" or status == "404":
                    break
                if status:
                    words = (msg.headers or {}).get("Description", "")
                    raise BrokerError(f"reading {stream}: {status} {words}")
                out.append(_stored(msg))
        except _AWAY:
            raise BrokerUnavailable(f"reading {stream}: the broker does not answer; try again") from None
        finally:
            await _unsubscribe(sub)
        return out

    async def read_all(self, stream: str, subject: str, *, start: int = 1) -> list[Stored]:
        """All messages of the subject that are in the stream now; for short streams."""
        out: list[Stored] = []
        while True:
            page = await self.read(stream, subject, start=start, limit=_PAGE)
            out += page
            if len(page) < _PAGE:
                return out
            start = page[-1].seq + 1

    async def subjects(self, stream: str, subject: str) -> list[str]:
        """The subjects that the stream holds messages of, under a filter."""
        out: list[str] = []
        while True:
            body = {"subjects_filter": subject, "offset": len(out)}
            info = await self.api(f"STREAM.INFO.{stream}", body)
            page = (info["state"].get("subjects") or {}).keys()
            out += page
            if not page or len(out) >= info.get("total", len(out)):
                return out

    async def request(self, subject: str, data: bytes, *, timeout: float = TIMEOUT) -> bytes:
        """The answer of somebody else than the broker."""
        try:
            return bytes((await kept(self.nc.request(subject, data, timeout=timeout))).data)
        except _AWAY:
            raise BrokerUnavailable(f"{subject}: no answer within {timeout:g} s; try again") from None

    async def _ask(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, *, empty_ok: bool = False
    ) -> dict[str, Any]:
        try:
            reply = await kept(self.nc.request(subject, data, timeout=TIMEOUT, headers=headers or None))
        except _AWAY:
            raise BrokerUnavailable(
                f"{subject}: the broker does not answer; it may be restarting, try again"
            ) from None
        if empty_ok and not reply.data:
            return {}
        answer: dict[str, Any] = json.loads(reply.data)
        if error := answer.get("error"):
            raise _error(subject, error)
        return answer


class _NoSuchMessage(BrokerError):
    pass


class _DuplicateInBatch(BrokerError):
    pass


def _error(doing: str, error: dict[str, Any]) -> BrokerError:
    code = error.get("err_code", 0)
    words = f"{doing}: {error.get('description', 'refused')}"
    if code == _NOT_FOUND:
        return _NoSuchMessage(words)
    if code == _DUPLICATE_IN_BATCH:
        return _DuplicateInBatch(words)
    if code in _FULL:
        return StreamFull(f"{words}; the broker's storage for this is full, free some or raise its limit")
    if code in _LOST_RACE:
        return Conflict(words)
    if error.get("code") == 503:
        return BrokerUnavailable(f"{words}; it may be electing a leader, try again")
    return BrokerError(words)


def _stored(msg: Msg) -> Stored:
    headers = dict(msg.headers or {})
    # Nanoseconds, of which Python's datetime leaves the last three out.
    at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
    return Stored(
        int(headers["Nats-Sequence"]), headers["Nats-Subject"], msg.data, headers, _microseconds(at)
    )


def _got(message: Mapping[str, Any]) -> Stored:
    lines = base64.b64decode(message.get("hdrs", "")).decode().splitlines()[1:]
    headers = {k: v.strip() for k, _, v in (line.partition(":") for line in lines) if k}
    at = datetime.fromisoformat(message["time"])
    data = base64.b64decode(message.get("data", ""))
    return Stored(message["seq"], message["subject"], data, headers, _microseconds(at))


def _microseconds(at: datetime) -> float:
    return (at - _EPOCH) // timedelta(microseconds=1) / 1e6


async def _unsubscribe(sub: Any) -> None:
    # If the connection is gone, the subscription is gone with it.
    with contextlib.suppress(nats.errors.Error, asyncio.InvalidStateError):
        await sub.unsubscribe()
