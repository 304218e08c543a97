"""`runner.heartbeat`: once a second, all that presence and capacity need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from broker_config import codec
from broker_config.messages import Heartbeat
from broker_config.subjects import runner_heartbeat

from .link import Link
from .machine import Machine, Usage


class Heart:
    """`describe` makes the message of what the machine uses; `sampled` is called with each sample before."""

    def __init__(
        self,
        link: Link,
        runner: str,
        machine: Machine,
        *,
        describe: Callable[[Usage], Heartbeat],
        sampled: Callable[[Usage], None],
    ) -> None:
        #: Seconds between beats.
        self.interval = 1.0
        self._link = link
        self._subject = runner_heartbeat(runner)
        self._machine = machine
        self._describe = describe
        self._sampled = sampled
        self._now = asyncio.Event()

    def beat_now(self) -> None:
        """Something changed that others wait for."""
        self._now.set()

    async def run(self) -> NoReturn:
        while True:
            await self.beat()
            try:
                async with asyncio.timeout(self.interval):
                    await self._now.wait()
            except TimeoutError:
                continue
            self._now.clear()

    async def beat(self) -> None:
        usage = await self._machine.sample()
        self._sampled(usage)
        await self._link.send(self._subject, codec.encode(self._describe(usage)))
