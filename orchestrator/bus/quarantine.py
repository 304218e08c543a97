"""Messages that could not be used: counted, and kept in the bounded stream QUARANTINE."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from broker_config import codec
from broker_config.errors import BrokerError
from broker_config.log_limit import LogLimit
from broker_config.messages import Quarantined, quarantined
from broker_config.subjects import quarantine

from .jet import Jet

log = logging.getLogger(__name__)

#: Waiting to be stored; what comes beyond is counted only.
MAX_WAITING = 1_000


class Quarantine:
    """`put` never waits and never fails; `run` stores until cancelled."""

    def __init__(self, jet: Jet, name: str, *, clock: Callable[[], float]) -> None:
        self._jet = jet
        self._name = name
        self._clock = clock
        self._limit = LogLimit(clock)
        self._waiting: asyncio.Queue[tuple[str, Quarantined]] = asyncio.Queue(MAX_WAITING)
        #: Messages by kind since the start.
        self.counts: Counter[str] = Counter()

    def put(self, kind: str, subject: str, data: bytes, reason: str) -> None:
        """Take a message of `kind` (what it should have been) out of the way."""
        self.counts[kind] += 1
        if (left_out := self._limit.left_out(kind)) is not None:
            more = f" ({left_out} more of this kind before it)" if left_out else ""
            log.warning("a message on %s could not be used: %s%s", subject, reason, more)
        if not self._waiting.full():
            self._waiting.put_nowait(
                (kind, quarantined(subject, data, reason, at=self._clock(), by=self._name))
            )

    async def run(self) -> None:
        while True:
            kind, document = await self._waiting.get()
            try:
                await self._jet.publish(quarantine(kind), codec.encode(document))
            except BrokerError as e:
                log.debug("not kept: %s", e)
