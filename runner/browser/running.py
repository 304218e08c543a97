"""One running browser: its connection, its process, how many sessions it has had."""

from __future__ import annotations

import asyncio
import contextlib

import psutil
from playwright.async_api import Browser, Error

from .bounded import bounded
from .driver import Driver
from .processes import alive, kill_tree

CLOSE_LIMIT = 5.0
#: Seconds to wait for the word that a browser has ended, after a call to it has failed.
GONE_LIMIT = 1.0


class RunningBrowser:
    """`open` is the number of sessions in it now, `started` of all that it has had. `retired` is True when it
    takes no more."""

    def __init__(self, browser: Browser, process: psutil.Process, driver: Driver) -> None:
        self.browser = browser
        self.process = process
        self.open = 0
        self.started = 0
        self.retired = False
        self._dead = False
        self._gone = asyncio.Event()
        self._driver = driver
        self._driver_process = driver.process
        browser.on("disconnected", lambda _: self._gone.set())

    @property
    def alive(self) -> bool:
        """Whether it can be used: browser, connection and driver are there."""
        return (
            not self._dead
            and self.browser.is_connected()
            and alive(self.process)
            and self._driver_process is not None
            and alive(self._driver_process)
        )

    def kill(self) -> None:
        """End the browser with all its processes, from outside. Its sessions fail at once."""
        self.retired = self._dead = True
        kill_tree(self.process)

    def kill_driver(self) -> None:
        """For when the browser is dead and its driver does not notice."""
        if self._driver.process is self._driver_process:
            self._driver.kill()

    async def ended_by(self, error: BaseException) -> bool:
        """Whether a call failed with `error` because browser or driver ended. If so, it is cleared away."""
        if not isinstance(error, Error) and "Connection closed" in str(error):
            # A process is still there for a moment after its pipes have been closed.
            self.kill_driver()
            self.kill()
        elif self.alive and "has been closed" in str(error):
            # The page itself, or the browser? The word of that may be on its way.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GONE_LIMIT):
                    await self._gone.wait()
        if not self.alive:
            self.kill()
            return True
        return False

    async def close(self) -> None:
        """End the browser in good order, or by force; nothing of it is left."""
        self.retired = True
        try:
            if self.alive:
                with contextlib.suppress(Error, TimeoutError, OSError):
                    await bounded(self.browser.close(), CLOSE_LIMIT, [self.kill, self.kill_driver])
        finally:
            self.kill()
