"""The inbox of one slot's pulls."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from .sink import Sink


class Mailbox:
    """One subscription of its own, so that nothing arrives once it is closed."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self.subject = nc.new_inbox()
        self._sub: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False

    @classmethod
    async def opened(cls, nc: Client) -> Mailbox:
        mailbox = cls(nc)
        mailbox._sub = await nc.subscribe(mailbox.subject, future=Sink(mailbox._take).as_future())
        return mailbox

    def wake(self) -> None:
        """End the wait of `next`, or the coming one if nobody waits now."""
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, within: float) -> Msg | None:
        """The next message; None after `within` seconds or `wake`."""
        if not self._arrived and not self._woken:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(within, self.wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self._woken = False
        return self._arrived.popleft() if self._arrived else None

    async def close(self, *, connected: bool) -> list[Msg]:
        """End the subscription; what had arrived and was not taken.

        While connected the broker's word is waited for that nothing more is on its way.
        """
        sub = self._sub
        if sub is not None:
            self._sub = None
            with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                if connected:
                    # `unsubscribe` forgets the subscription before the broker does, and `drain` sends its
                    # PING before the UNSUB: either may drop a session that is on its way.
                    await self._nc._send_unsubscribe(sub._id)
                    await self._nc.flush(2)
                    await self._nc.flush(2)
            with contextlib.suppress(nats.errors.Error):
                await sub.unsubscribe()
        return self.take_all()

    def clear(self) -> list[Msg]:
        """Begin anew: `take_all`, and no `wake` from before counts."""
        self._woken = False
        return self.take_all()

    def take_all(self) -> list[Msg]:
        """What has arrived and was not taken."""
        left = list(self._arrived)
        self._arrived.clear()
        return left

    def _take(self, msg: Msg) -> None:
        self._arrived.append(msg)
        self.wake()
