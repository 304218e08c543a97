"""Messages handed over in the moment they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from nats.aio.msg import Msg


class Sink:
    """Calls `take` for each message of a subscription, synchronously.

    nats-py hands messages to a queue and a task a subscription; what is in the queue when the subscription
    ends is gone, a session with it. It hands over at once only what goes to a future; this looks like one
    that never has enough: `nc.subscribe(subject, future=Sink(take).as_future())`.
    """

    def __init__(self, take: Callable[[Msg], None]) -> None:
        self.set_result = take

    def cancelled(self) -> bool:
        return False

    def as_future(self) -> asyncio.Future[Msg]:
        return cast("asyncio.Future[Msg]", self)
