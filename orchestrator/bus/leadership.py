"""Leadership: a key with a TTL, taken and renewed by compare-and-set. Its holder is the conductor.

The fencing token is the revision at which the key was taken: it grows with every change of leadership.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker_config import codec
from broker_config.errors import BrokerError, BrokerUnavailable, Conflict
from broker_config.streams import LEADERSHIP

from .jet import Jet

log = logging.getLogger(__name__)

STREAM = f"KV_{LEADERSHIP.name}"
SUBJECT = f"$KV.{LEADERSHIP.name}.conductor"
#: Life of the key without renewal, s; the holder stops by itself after 0.7 of it.
TTL = 3
RENEW_EVERY = 0.75
POLL_EVERY = 0.5


class LeadershipLost(BrokerError):
    """The key was not renewed in time, or another holds it."""


class Leadership:
    """`hold` campaigns for ever and runs the given work while this process leads. `instance` is of this
    process alone, whatever its name."""

    def __init__(self, jet: Jet, name: str, *, instance: str, monotonic: Callable[[], float]) -> None:
        self._jet = jet
        self._name = name
        self._instance = instance
        self._monotonic = monotonic
        self._revision = 0
        self._confirmed = 0.0
        self.leading = False
        #: Name of the holder, as last seen.
        self.holder = ""

    @property
    def sure(self) -> bool:
        """True while nobody else can hold the key: asked before each write that a successor could not
        undo, since a process that was stopped for a while wakes up believing that it leads."""
        return self.leading and self._monotonic() < self._confirmed + 0.7 * TTL

    async def hold(self, lead: Callable[[int], Awaitable[None]]) -> None:
        """Campaign until cancelled. `lead(token)` runs while this process holds the key and is cancelled when
        it does not; when it fails with a `BrokerError` it is begun anew."""
        while True:
            if not await self._take():
                await asyncio.sleep(POLL_EVERY)
                continue
            token = self._revision
            self.leading = True
            log.info("conducting, token %d", token)
            try:
                async with asyncio.TaskGroup() as group:
                    work = group.create_task(_run(lead, token), name="conduct")
                    group.create_task(self._renew(work), name="renew leadership")
            except* BrokerError as failures:
                log.warning("conducting ends for now: %s", _first(failures))
                # Whatever failed, the state is on the broker: begin again from there.
                await asyncio.sleep(POLL_EVERY)
            finally:
                self.leading = False
                await self._release()

    async def _take(self) -> bool:
        try:
            sent = self._monotonic()
            entry = await self._jet.get(STREAM, SUBJECT)
            if entry is not None and not entry.deleted:
                said = codec.decode(entry.value, dict)
                # One's own key that outlived a broker's absence is taken again at once, not after its TTL: a
                # renewal that was given up may have gone out with the reconnection.
                if said.get("instance") != self._instance:
                    self.holder = said.get("name", "")
                    return False
            last = entry.revision if entry else 0
            ack = await self._jet.publish(SUBJECT, self._value(), expected_last=last, ttl=TTL)
        except BrokerError as e:
            log.debug("no leadership now: %s", e)
            return False
        self._revision = ack.seq
        self._confirmed = sent
        self.holder = self._name
        return True

    async def _renew(self, work: asyncio.Task[None]) -> None:
        while not work.done():
            await asyncio.wait({work}, timeout=RENEW_EVERY)
            left = self._confirmed + 0.7 * TTL - self._monotonic()
            try:
                async with asyncio.timeout(max(left, 0.01)):
                    sent = self._monotonic()
                    ack = await self._jet.publish(
                        SUBJECT, self._value(), expected_last=self._revision, ttl=TTL
                    )
            except Conflict:
                raise LeadershipLost("another orchestrator conducts now") from None
            except (BrokerUnavailable, TimeoutError):
                if not self.sure:
                    raise LeadershipLost("the broker did not renew the leadership in time") from None
                continue
            self._revision = ack.seq
            self._confirmed = sent

    async def _release(self) -> None:
        """Give the key up, so that another takes over at once and not after the TTL."""
        try:
            async with asyncio.timeout(1):
                await self._jet.publish_marker(SUBJECT, self._revision)
        except (BrokerError, TimeoutError) as e:
            log.debug("the leadership ends by its TTL: %s", e)

    def _value(self) -> bytes:
        return codec.encode({"name": self._name, "instance": self._instance})


async def _run(lead: Callable[[int], Awaitable[None]], token: int) -> None:
    await lead(token)


def _first(group: BaseExceptionGroup[BrokerError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
