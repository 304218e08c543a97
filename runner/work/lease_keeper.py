"""Renews the leases of all sessions, and says which are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from broker_config.errors import BrokerUnavailable
from runner.core.lease import Lease, Wakefulness

from .delivery import Delivery
from .link import Link

#: The longest pause between two looks, s.
TICK = 0.25


class Held:
    """A delivery under lease. `on_lost` is called once, when the lease is lost while it is held."""

    __slots__ = ("delivery", "lease", "on_lost")

    def __init__(self, delivery: Delivery, lease: Lease) -> None:
        self.delivery = delivery
        self.lease = lease
        self.on_lost: Callable[[], None] | None = None


class LeaseKeeper:
    """`run` keeps until cancelled. `length` may be changed: it counts for deliveries taken from then on."""

    def __init__(self, link: Link, *, clock: Callable[[], float], length: float) -> None:
        self.length = length
        self._link = link
        self._clock = clock
        self._held: dict[int, Held] = {}
        self._wakefulness = Wakefulness(TICK, clock())
        self._group: asyncio.TaskGroup | None = None

    def sent_after(self, now: float) -> float:
        """What is read at `now` was sent after this moment."""
        return self._wakefulness.sent_after(now)

    def take(self, delivery: Delivery) -> Held:
        held = Held(delivery, Lease(self.length, delivery.since))
        self._held[id(held)] = held
        return held

    def release(self, held: Held) -> None:
        self._held.pop(id(held), None)

    def lost(self, held: Held) -> bool:
        """Look at this lease now."""
        return held.lease.decide(self._clock()) == "lost"

    async def run(self) -> NoReturn:
        async with asyncio.TaskGroup() as self._group:
            while True:
                self.check()
                await asyncio.sleep(min(TICK, self.length / 20))
        raise AssertionError

    def check(self) -> None:
        """Look at all leases: tell whose is lost, renew those that are due."""
        now = self._clock()
        self._wakefulness.beat(now)
        for held in list(self._held.values()):
            decision = held.lease.decide(now)
            if decision == "lost":
                self.release(held)
                if held.on_lost is not None:
                    held.on_lost()
            elif decision == "renew" and self._group is not None and self._link.is_up:
                held.lease.ask(now)
                self._group.create_task(self._renew(held, now), name="renew a lease")

    async def _renew(self, held: Held, asked: float) -> None:
        try:
            await held.delivery.renew(self._link, held.lease.length / 3)
        except BrokerUnavailable:
            return
        held.lease.confirm(asked)
