"""A stream, in order and without gaps, from a sequence on: survives restarts of the broker and elections.

An ephemeral pull consumer without acks; when it is lost, or silent for longer than two idle heartbeats, a new
one continues after the last message seen.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import nats.errors
from nats.aio.msg import Msg

from broker_config.errors import BrokerError, BrokerUnavailable

from .jet import Jet

log = logging.getLogger(__name__)

_BATCH = 2_000
_EXPIRES = 30.0
_HEARTBEAT = 1.0
_RETRY = 0.25


class FeedMessage(NamedTuple):
    seq: int
    subject: str
    data: bytes
    #: When the stream stored it, seconds since 1970, in whole microseconds.
    at: float
    #: True for a key-value marker: the key was deleted or has expired.
    deleted: bool


class StreamFeed:
    """Calls `on_message` for each message, in stream order, from `run`.

    `start` is the first sequence; None begins with the newest message of every subject (the state of a
    bucket) and goes on from there. `caught_up` is set once all that was there at the start has been seen.
    """

    def __init__(
        self,
        jet: Jet,
        stream: str,
        subject: str,
        on_message: Callable[[FeedMessage], None],
        *,
        start: int | None = None,
    ) -> None:
        self._jet = jet
        self._stream = stream
        self._subject = subject
        self._on_message = on_message
        self._start = start
        self.last_seq = (start or 1) - 1
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Feed until cancelled. An outage is waited out; a connection that is closed for good raises
        `BrokerUnavailable`."""
        while True:
            try:
                await self._consume()
            except BrokerError as e:
                log.debug("feed of %s: %s", self._stream, e)
            except nats.errors.ConnectionClosedError:
                raise BrokerUnavailable(f"the connection that feeds {self._stream} is closed") from None
            except nats.errors.Error as e:
                log.debug("feed of %s: %r", self._stream, e)
            if self._jet.nc.is_closed:
                raise BrokerUnavailable(f"the connection that feeds {self._stream} is closed")
            await asyncio.sleep(_RETRY)

    async def _create(self) -> str:
        config: dict[str, Any] = {
            "ack_policy": "none",
            "filter_subject": self._subject,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(10e9),
            "max_waiting": 64,
        }
        if self._start is None and self.last_seq == 0:
            config["deliver_policy"] = "last_per_subject"
        else:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": self.last_seq + 1}
        answer = await self._jet.api(
            f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
        )
        if answer.get("num_pending", 0) == 0 and not answer["delivered"]["consumer_seq"]:
            self.caught_up.set()
        return str(answer["name"])

    async def _consume(self) -> None:
        nc = self._jet.nc
        consumer = await self._create()
        ask = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}"
        body = json.dumps(
            {"batch": _BATCH, "expires": int(_EXPIRES * 1e9), "idle_heartbeat": int(_HEARTBEAT * 1e9)}
        ).encode()
        inbox = nc.new_inbox()
        expected = 1
        outstanding = 0
        broken = asyncio.Event()
        heard = asyncio.Event()

        async def take(msg: Msg) -> None:
            nonlocal expected, outstanding
            heard.set()
            status = (msg.headers or {}).get("Status")
            if status:
                if status != "100":
                    # 408: the request has run its time. Anything else: this consumer is of no more use.
                    outstanding = 0
                    if status != "408":
                        broken.set()
                return
            parts = msg.reply.split(".")
            if len(parts) > 9:  # $JS.ACK.<domain>.<account>.…: two tokens more than the old form
                parts = parts[2:]
            seq, consumer_seq, pending = int(parts[5]), int(parts[6]), int(parts[8])
            if broken.is_set() or consumer_seq != expected:
                broken.set()
                return
            expected += 1
            outstanding -= 1
            self.last_seq = seq
            headers = msg.headers or {}
            deleted = "KV-Operation" in headers or "Nats-Marker-Reason" in headers
            self._on_message(FeedMessage(seq, msg.subject, msg.data, int(parts[7]) // 1000 / 1e6, deleted))
            if pending == 0:
                self.caught_up.set()

        sub = await nc.subscribe(inbox, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
        try:
            while not broken.is_set():
                if outstanding < _BATCH // 2:
                    outstanding += _BATCH
                    await nc.publish(ask, body, reply=inbox)
                heard.clear()
                async with asyncio.timeout(2 * _HEARTBEAT + 0.5):
                    await heard.wait()
        except TimeoutError:
            log.info("feed of %s is silent; continuing after %d", self._stream, self.last_seq)
        finally:
            try:
                await sub.unsubscribe()
            except nats.errors.Error:
                log.debug("feed of %s: its connection is gone", self._stream)
