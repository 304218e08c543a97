"""The stream DISPATCH: sending sessions, taking them back, looking at what is there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from broker_config import codec
from broker_config.errors import MessageError
from broker_config.messages import Dispatch
from broker_config.streams import DISPATCH
from broker_config.subjects import JOB_DISPATCHES, dispatch_consumer, job_dispatch

from .jet import Jet

log = logging.getLogger(__name__)


class Queued(NamedTuple):
    seq: int
    dispatch: Dispatch


class DispatchQueue:
    def __init__(self, jet: Jet) -> None:
        self._jet = jet

    async def send(self, dispatches: Sequence[Dispatch]) -> list[int]:
        """Publish; the sequence of each. One that the broker still remembers keeps its first sequence."""
        messages = [(job_dispatch(d.platform, d.pool), codec.encode(d), d.message_id) for d in dispatches]
        return [ack.seq for ack in await self._jet.publish_all(messages)]

    async def withdraw(self, seq: int) -> bool:
        """Take one message back; False if it is there no more (it was acked)."""
        return await self._jet.delete(DISPATCH.name, seq)

    async def withdraw_all(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            await self.withdraw(seq)

    async def given(self, lane: str) -> int:
        """Runners were given all messages of the lane up to this sequence, in order."""
        platform, _, pool = lane.partition(".")
        consumer = dispatch_consumer(platform, pool or None)
        info = await self._jet.api(f"CONSUMER.INFO.{DISPATCH.name}.{consumer}")
        return int(info["delivered"]["stream_seq"])

    async def scan(self) -> list[Queued]:
        """All messages now: those that wait and those that a runner holds. Unreadable ones are removed."""
        out = []
        for stored in await self._jet.read_all(DISPATCH.name, JOB_DISPATCHES):
            try:
                out.append(Queued(stored.seq, codec.decode(stored.data, Dispatch)))
            except MessageError as e:
                log.warning("message %d of %s is removed: %s", stored.seq, DISPATCH.name, e)
                await self.withdraw(stored.seq)
        return out
