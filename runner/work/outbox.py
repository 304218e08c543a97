"""Publishes results until the stream has them, then acks their dispatches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import NoReturn

import msgspec

from broker_config.errors import BrokerError, BrokerUnavailable, StreamFull
from runner.core.backoff import Backoff

from .delivery import ack
from .lease_keeper import Held, LeaseKeeper
from .link import Link
from .result import Result
from .spool import Spool

log = logging.getLogger(__name__)

#: The stream's answer is waited for so long, s.
PATIENCE = 5.0
#: Results that are remembered after the stream had them: a dispatch whose ack was lost comes again.
REMEMBERED = 2_000
_FULL = (10047, 10077, 10023)


class _ApiError(msgspec.Struct):
    description: str = ""
    err_code: int = 0


class _PubAck(msgspec.Struct):
    stream: str = ""
    error: _ApiError | None = None


_pub_ack = msgspec.json.Decoder(_PubAck)


class Outbox:
    """`run` publishes what is on disk, until cancelled. `changed` is called when `full` may have changed.
    `writer` is the runner under whose name alone the broker takes results; None: it takes them under any."""

    def __init__(
        self,
        link: Link,
        spool: Spool,
        leases: LeaseKeeper,
        *,
        backoff: Backoff,
        changed: Callable[[], None],
        writer: str | None = None,
    ) -> None:
        self._writer = writer
        self._link = link
        self._spool = spool
        self._leases = leases
        self._backoff = backoff
        self._changed = changed
        self._some = asyncio.Event()
        self._now = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        #: Leases of what is on disk: renewed while it waits, so that no session is made again in vain.
        self._held: dict[object, Held] = {}
        self._recent: OrderedDict[tuple[str, int], Result] = OrderedDict()

    @property
    def full(self) -> bool:
        """True while no new session may start."""
        return self._spool.full

    def open(self) -> None:
        """Take over the results that earlier processes left. Raises `SettingsError`."""
        if left := self._spool.open():
            log.info("%d results of earlier runs are still to be published", left)
            self._empty.clear()
            self._some.set()

    def earlier(self, job: str, session: int) -> Result | None:
        """The result of a session that ended here not long ago."""
        return self._recent.get((job, session))

    async def deliver(self, result: Result, held: Held) -> None:
        """Returns when the stream has the result and the dispatch is acked, or the result is on disk; it is
        on disk when the call is cancelled, too. Takes the lease over."""
        self._recent[result.job, result.session] = result
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        try:
            await self._publish(result)
        except (BrokerError, asyncio.CancelledError) as e:
            self._store(result, held, e)
            if isinstance(e, asyncio.CancelledError):
                raise
            return
        self._leases.release(held)
        await ack(self._link, result.ack)

    async def run(self) -> NoReturn:
        while True:
            await self._some.wait()
            await self._link.up.wait()
            failure = await self._round()
            if failure is None:
                self._backoff.reset()
                continue
            log.warning("%d results wait on disk: %s", len(self._spool), failure)
            self._now.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.pause()):
                    await self._now.wait()

    async def flushed(self, within: float) -> bool:
        """Wait until nothing is on disk; False if that takes longer than `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def back(self) -> None:
        """The connection is back: no pause any more."""
        self._backoff.reset()
        self._now.set()

    def close(self) -> None:
        self._spool.close()

    async def _round(self) -> BrokerError | None:
        """Try each once; the last failure."""
        failure = None
        for path, result in self._spool.read():
            if self._writer is not None and not result.subject.endswith(f".{self._writer}"):
                failure = BrokerError(f"{result.subject} is not for runner {self._writer} to write on")
                continue
            try:
                await self._publish(result)
            except BrokerUnavailable as e:
                return e
            except BrokerError as e:
                failure = e
                continue
            await ack(self._link, result.ack)
            self._spool.remove(path)
            if held := self._held.pop(path, None):
                self._leases.release(held)
            self._changed()
        if not len(self._spool):
            self._some.clear()
            self._empty.set()
        return failure

    async def _publish(self, result: Result) -> None:
        headers = {"Nats-Msg-Id": result.message_id}
        answer = await self._link.request(
            result.subject, bytes(result.data), timeout=PATIENCE, headers=headers
        )
        try:
            said = _pub_ack.decode(answer.data)
        except msgspec.MsgspecError as e:
            raise BrokerUnavailable(f"{result.subject}: the answer is not a stream's: {e}") from None
        if said.error is not None:
            kind = StreamFull if said.error.err_code in _FULL else BrokerError
            raise kind(f"{result.subject}: {said.error.description} ({said.error.err_code})")

    def _store(self, result: Result, held: Held, why: BaseException) -> None:
        try:
            path = self._spool.put(result)
        except OSError as e:
            # The dispatch stays without ack: the session is made again, elsewhere.
            log.error("a result cannot be stored (%s), nor published (%s)", e.strerror, why)
            self._leases.release(held)
            return
        self._held[path] = held
        held.on_lost = None
        log.debug("a result waits on disk: %s", why)
        self._empty.clear()
        self._some.set()
        self._changed()
