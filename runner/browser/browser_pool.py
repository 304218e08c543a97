"""The running browser of one kind: started when needed, shared by sessions, replaced when old or dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
from playwright.async_api import Browser, Error

from broker_config.errors import BrowserNotStarted
from runner.core.failure import tidy
from runner.gate.lease import Lease

from .bounded import bounded
from .driver import Driver
from .found import FoundBrowser
from .launch import fenced, launch_options, launcher_name
from .processes import kill_tree, marked_child, new_mark
from .running import RunningBrowser

log = logging.getLogger(__name__)

RETIRE_AFTER = 200
LAUNCH_LIMIT = 30.0


class BrowserPool:
    """One browser takes new sessions; retired ones live on until their last session has ended.

    `user_agent` is what browsers started from now on send; "" is their own. `wall` is the lease of an empty
    policy, for what belongs to no session; it lives longer than the browsers.
    """

    def __init__(
        self, found: FoundBrowser, driver: Driver, wall: Lease, *, retire_after: int = RETIRE_AFTER
    ) -> None:
        self.found = found
        self.user_agent = ""
        self._driver = driver
        self._wall = wall
        self._retire_after = retire_after
        self._lock = asyncio.Lock()
        self._current: RunningBrowser | None = None
        self._running: set[RunningBrowser] = set()
        self._closed = False
        self._failures = 0
        self._last_failure = ""

    @property
    def running(self) -> list[RunningBrowser]:
        """The browsers that run now."""
        return list(self._running)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[RunningBrowser]:
        """A browser for one session. Raises `BrowserNotStarted` where none can be started."""
        running = await self._take()
        try:
            yield running
        finally:
            running.open -= 1
            if not running.alive:
                self._drop(running)
            elif running.retired and running.open == 0:
                self._running.discard(running)
                await running.close()

    async def warm(self) -> None:
        """Start a browser now, so that the first session finds one. Raises `BrowserNotStarted`."""
        async with self.lease():
            pass

    async def close(self) -> None:
        """End all browsers, those with sessions too."""
        self._closed = True
        async with self._lock:  # a launch under way comes to its end first
            self._current = None
            running, self._running = self._running, set()
        try:
            for one in running:
                await one.close()
        finally:
            for one in running:
                one.kill()

    async def _take(self) -> RunningBrowser:
        failures = self._failures
        async with self._lock:
            if self._closed:
                raise BrowserNotStarted(f"{self.found} is not started: the runner is closing")
            if self._current is not None and not self._current.alive:
                self._drop(self._current)
            current = self._current
            if current is None or current.retired:
                if self._failures > failures:
                    # Somebody has tried for us while we waited for the lock.
                    raise BrowserNotStarted(self._last_failure)
                current = self._current = await self._launch()
            current.open += 1
            current.started += 1
            if current.started >= self._retire_after:
                current.retired = True
            return current

    def _drop(self, running: RunningBrowser) -> None:
        """Make an end of a browser that has died, or lost its driver."""
        if running in self._running:
            log.warning("%s has ended unexpectedly", self.found)
        running.kill()
        self._running.discard(running)
        if self._current is running:
            self._current = None

    async def _launch(self) -> RunningBrowser:
        mark = new_mark()
        process: psutil.Process | None = None

        def kill() -> None:
            driver = self._driver.process
            found = process or (marked_child(driver, mark) if driver is not None else None)
            if found is not None:
                kill_tree(found)

        try:
            playwright = await self._driver.playwright()
            launcher = getattr(playwright, launcher_name(self.found.browser))
            options = launch_options(self.found, mark, self.user_agent, LAUNCH_LIMIT)
            options = fenced(options, self.found.browser, self._wall)
            # A little longer than Playwright's own limit, whose message tells more.
            browser: Browser = await bounded(
                launcher.launch(**options), LAUNCH_LIMIT + 5, [kill, self._driver.kill]
            )
            driver = self._driver.process
            process = marked_child(driver, mark) if driver is not None else None
            if process is None:
                raise BrowserNotStarted(f"{self.found} ended as soon as it had started")
        except asyncio.CancelledError:
            kill()
            raise
        except Exception as e:
            kill()
            self._failures += 1
            if isinstance(e, BrowserNotStarted):
                self._last_failure = str(e)
                raise
            reason = "no answer" if isinstance(e, TimeoutError) else tidy(str(e))
            self._last_failure = f"{self.found} does not start: {reason}"
            if not isinstance(e, Error | TimeoutError | OSError) and self._driver.alive:
                log.exception("unexpected error while starting %s", self.found)
            raise BrowserNotStarted(self._last_failure) from e
        running = RunningBrowser(browser, process, self._driver)
        self._running.add(running)
        return running
