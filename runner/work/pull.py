"""The pull of one slot: one message for one free slot, from the first platform that has one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence

import nats.errors
from nats.aio.msg import Msg

from broker_config.errors import MessageError
from runner.core.backoff import Backoff

from .delivery import Delivery
from .link import Link
from .mailbox import Mailbox

log = logging.getLogger(__name__)

#: How long one request waits at the broker, s: on its own, and as one of several platforms in turn.
WAIT = 30.0
#: The same across accounts: there the broker does not see that who has asked is gone, and what it sends to
#: nobody comes back only after its lease.
WAIT_ACROSS = 3.0
WAIT_IN_TURN = 1.0
#: The broker says that the request still stands, every so often, s; silent for longer, it is asked anew.
IDLE_HEARTBEAT = 5.0
#: For an answer that comes at once, s.
PROMPT = 2.0

_NO_WAIT = json.dumps({"batch": 1, "no_wait": True}).encode()
_IN_TURN = json.dumps({"batch": 1, "expires": int(WAIT_IN_TURN * 1e9)}).encode()
_ALONE = json.dumps(
    {"batch": 1, "expires": int(WAIT * 1e9), "idle_heartbeat": int(IDLE_HEARTBEAT * 1e9)}
).encode()
_ACROSS = json.dumps({"batch": 1, "expires": int(WAIT_ACROSS * 1e9)}).encode()


class Pull:
    """`next` is called by one task. `subjects` gives the MSG.NEXT subjects, anew each time; `turn` is with
    which of them this slot begins. `sent_after` bounds from when the lease of what is read now may run.

    `missing` is called when the broker does not know a consumer. `across`: the stream is in another account.
    """

    def __init__(
        self,
        link: Link,
        *,
        subjects: Callable[[], Sequence[str]],
        turn: int,
        clock: Callable[[], float],
        sent_after: Callable[[float], float],
        backoff: Backoff,
        missing: Callable[[], None],
        across: bool = False,
    ) -> None:
        self._across = across
        self._link = link
        self._subjects = subjects
        self._turn = turn
        self._clock = clock
        self._sent_after = sent_after
        self._backoff = backoff
        self._missing = missing
        self._mailbox: Mailbox | None = None
        self._asked_at = 0.0
        self._stopped = False
        self._pausing: asyncio.Future[None] | None = None

    def stop(self) -> None:
        """Make `next` return soon; its request is taken back."""
        self._stopped = True
        self._wake()

    async def next(self, allowed: Callable[[], bool]) -> Delivery | None:
        """One delivery; None when `stop` was called (also because the connection broke), or `allowed` says
        no."""
        self._stopped = False
        if not self._link.is_up:
            # Breaking, and nobody was told yet.
            await self._pause(0.1)
            return None
        while allowed() and not self._stopped and self._link.is_up:
            subjects = self._subjects()
            self._turn = (self._turn + 1) % len(subjects)
            order = [*subjects[self._turn :], *subjects[: self._turn]]
            if len(order) == 1:
                if self._across:
                    found = await self._ask(order[0], _ACROSS, WAIT_ACROSS + PROMPT)
                else:
                    found = await self._ask(order[0], _ALONE, IDLE_HEARTBEAT * 2 + 1)
            else:
                found = None
                for subject in order:
                    found = await self._ask(subject, _NO_WAIT, PROMPT)
                    if found is not None or self._stopped or not self._link.is_up:
                        break
                else:
                    found = await self._ask(order[0], _IN_TURN, WAIT_IN_TURN + PROMPT)
            if found is not None:
                self._backoff.reset()
                return found
        return None

    async def close(self) -> None:
        """Take back what is asked, hand back what arrived."""
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is None:
            return
        for msg in await mailbox.close(connected=self._link.is_up):
            delivery = self._delivery(msg)
            if delivery is not None:
                await delivery.hand_back(self._link)

    async def _ask(self, subject: str, request: bytes, patience: float) -> Delivery | None:
        try:
            mailbox = self._mailbox = self._mailbox or await Mailbox.opened(self._link.nc)
        except nats.errors.Error:
            # Breaking, and nobody was told yet.
            await self._pause(0.1)
            return None
        # Nothing is asked for now: what is there has no lease that is known.
        if mailbox.clear():
            log.warning("an unasked message came to an inbox and is left alone")
        self._asked_at = self._clock()
        try:
            await self._link.nc.publish(subject, request, reply=mailbox.subject)
            while not self._stopped:
                msg = await mailbox.next(patience)
                if msg is None:
                    break
                status = (msg.headers or {}).get("Status", "")
                if status == "100":
                    continue
                if status:
                    await self._refused(subject, status, (msg.headers or {}).get("Description", ""))
                    return None
                delivery = self._delivery(msg)
                if delivery is not None:
                    return delivery
        except nats.errors.Error as e:
            log.debug("%s: %s", subject, e)
            await self._pause(0.1)
        except asyncio.CancelledError:
            # No time to wait for the broker: what has arrived goes back, the rest when its lease is over.
            for msg in mailbox.take_all():
                if (late := self._delivery(msg)) is not None:
                    await late.hand_back(self._link)
            raise
        # Stopped, broken or silent: the request may still stand, so its inbox must go. What slipped in is as
        # good as any.
        self._mailbox = None
        first = None
        for msg in await mailbox.close(connected=self._link.is_up):
            late = self._delivery(msg)
            if late is not None and first is None and not self._stopped:
                first = late
            elif late is not None:
                await late.hand_back(self._link)
        return first

    def _delivery(self, msg: Msg) -> Delivery | None:
        if (msg.headers or {}).get("Status"):
            return None
        try:
            return Delivery.of(msg, max(self._asked_at, self._sent_after(self._clock())))
        except MessageError as e:
            log.warning("something that is no delivery came to an inbox: %s", e)
            return None

    async def _refused(self, subject: str, status: str, text: str) -> None:
        """404 no messages and 408 expired are the plain end of a request; the rest asks for patience."""
        if status in ("404", "408"):
            return
        if status == "503" or "Deleted" in text:
            log.debug("%s: %s %s", subject, status, text)
            self._missing()
        elif status != "409":
            log.warning("%s: unexpected status %s %s", subject, status, text)
        await self._pause(self._backoff.pause())

    async def _pause(self, seconds: float) -> None:
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        self._pausing = loop.create_future()
        timer = loop.call_later(seconds, self._end_pause)
        try:
            await self._pausing
        finally:
            timer.cancel()
            self._pausing = None

    def _wake(self) -> None:
        if self._mailbox is not None:
            self._mailbox.wake()
        self._end_pause()

    def _end_pause(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)
