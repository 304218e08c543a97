"""The runner's connection to the broker, with requests that end when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import connection
from broker_config.broker_login import BrokerLogin
from broker_config.errors import BrokerUnavailable, CredentialEnded

from .sink import Sink

log = logging.getLogger(__name__)

#: A broker that says no once may come up just now and not yet know its accounts, s.
GIVE_UP = 3.0
ANEW = "`tb-runner leave` forgets it, and a new invite (`tb runners invite`) lets the machine join again"


class Link:
    """Made by `linked`. `up` is an event: set while the broker can be talked to.

    `on_down` and `on_up` are called, in order, when the connection breaks and when it is back; they must not
    block.
    """

    def __init__(self, url: str) -> None:
        self.nc: Client
        self.url = url
        self.up = asyncio.Event()
        self.closed = asyncio.Event()
        #: Why the broker lets this runner in no more, in its words.
        self.refused = ""
        self._refused_since: float | None = None
        #: The runner itself ends the connection.
        self.leaving = False
        self.on_down: list[Callable[[], None]] = []
        self.on_up: list[Callable[[], None]] = []
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._numbers = itertools.count()
        self._inbox = ""

    @property
    def is_up(self) -> bool:
        return self.up.is_set() and self.nc.is_connected

    async def watch(self) -> NoReturn:
        """Raises `BrokerUnavailable` when the connection is closed for good, `CredentialEnded` where that is
        because nobody is let in any more with the runner's credential."""
        await self.closed.wait()
        if self.refused:
            raise CredentialEnded(
                f"the broker at {connection.mask(self.url)} has ended this runner's credential "
                f"({self.refused}); {ANEW}"
            )
        raise BrokerUnavailable(
            f"the connection to {connection.mask(self.url)} is closed for good; "
            "the broker has ended it (credentials revoked or expired?)"
        )

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout: float,
        headers: dict[str, str] | None = None,
    ) -> Msg:
        """The answer. Raises `BrokerUnavailable`: no connection, nobody listens, or no answer in time."""
        if not self.is_up:
            raise BrokerUnavailable("there is no connection to the broker")
        number = f"{self._inbox}{next(self._numbers):x}"
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self.nc.publish(subject, payload, reply=number, headers=headers)
                msg: Msg = await future
        except TimeoutError:
            raise BrokerUnavailable(f"no answer on {subject} within {timeout:g} s") from None
        except nats.errors.Error as e:
            raise BrokerUnavailable(f"{subject}: {e}") from None
        finally:
            del self._waiting[number]
        if msg.headers and msg.headers.get("Status") == "503":
            raise BrokerUnavailable(f"nobody listens on {subject}")
        return msg

    async def send(self, subject: str, payload: bytes = b"") -> bool:
        """Publish without waiting for anything; False (and nothing sent) while there is no connection.

        Nothing is kept for later: an ack or nak that arrives late may hit the session's next holder.
        """
        if not self.is_up:
            return False
        try:
            await self.nc.publish(subject, payload)
        except nats.errors.Error:
            return False
        return True

    async def reconnect(self) -> None:
        """Connect anew, with the credential of now. What is in flight fails, as when a connection breaks."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self.nc.flush(2)
        await self.nc.force_reconnect()

    def _error(self, e: Exception) -> None:
        """The client tries for ever; a broker that says no for `GIVE_UP` seconds will not change its mind."""
        if not connection.is_refusal(e):
            log.warning("broker connection: %s", e)
            return
        now = asyncio.get_running_loop().time()
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since > GIVE_UP:
            self.refused = str(e)
            self.closed.set()

    async def _listen(self) -> None:
        self._inbox = self.nc.new_inbox() + "."
        await self.nc.subscribe(self._inbox + "*", future=Sink(self._answered).as_future())

    def _answered(self, msg: Msg) -> None:
        future = self._waiting.get(msg.subject)
        if future and not future.done():
            future.set_result(msg)

    def _down(self) -> None:
        if not self.up.is_set():
            return
        self.up.clear()
        if not self.leaving:
            log.warning("the broker is away")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BrokerUnavailable("the connection to the broker broke"))
        for call in self.on_down:
            call()

    def _back(self) -> None:
        self._refused_since = None
        self.up.set()
        log.info("the broker is back")
        for call in self.on_up:
            call()


@asynccontextmanager
async def linked(
    url: str,
    *,
    name: str,
    timeout: float = 5.0,
    credentials: Path | None = None,
    login: BrokerLogin | None = None,
    tls: ssl.SSLContext | None = None,
    inbox_prefix: str | None = None,
) -> AsyncIterator[Link]:
    """Connect; drain and close at the end. Errors as `connection.connect`."""
    link = Link(url)

    def closed() -> None:
        # There is no client yet where the first connect has failed.
        error = getattr(getattr(link, "nc", None), "last_error", None)
        if login is not None and error is not None and "authenti" in str(error).lower():
            link.refused = str(error).removeprefix("nats: ").strip("'")
        link._down()
        link.closed.set()

    async with connection.connected(
        url,
        name=name,
        timeout=timeout,
        credentials=credentials,
        login=login,
        tls=tls,
        inbox_prefix=inbox_prefix,
        on_error=link._error,
        on_closed=closed,
        on_disconnected=link._down,
        on_reconnected=link._back,
    ) as link.nc:
        await link._listen()
        link.up.set()
        try:
            yield link
        finally:
            link.leaving = True
