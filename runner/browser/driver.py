"""Playwright's driver: one Node process that all browsers of a runner hang on; started anew when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from playwright.async_api import Error, Playwright, async_playwright
from playwright.async_api._context_manager import PlaywrightContextManager

from broker_config.errors import BrowserNotStarted

from . import ffmpeg
from .bounded import bounded
from .processes import alive, kill_tree
from .scratch import VARIABLES, Scratch, sweep

log = logging.getLogger(__name__)

START_LIMIT = 30.0
#: Ctrl-C in a terminal goes to the whole process group. The runner ends its sessions in good order then; the
#: driver must live on until the runner closes it (it ends by itself when the runner is gone).
_DEAF = "--import=data:text/javascript,['SIGINT','SIGTERM'].map(s=>process.on(s,()=>{}))"


class Driver:
    """Safe for concurrent use."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._process: psutil.Process | None = None
        self._dead = False
        self._scratch: Scratch | None = None
        #: Whether videos can be made.
        self.films = False

    @property
    def process(self) -> psutil.Process | None:
        """The driver's process, where it was started."""
        return self._process

    @property
    def folder(self) -> Path | None:
        """Where its browsers and their sessions keep temporary files; gone when it ends."""
        return self._scratch.path if self._scratch is not None else None

    @property
    def alive(self) -> bool:
        return not self._dead and self._process is not None and alive(self._process)

    async def playwright(self) -> Playwright:
        """Playwright with a living driver. Raises `BrowserNotStarted`."""
        async with self._lock:
            if self._playwright is None or not self.alive:
                if self._playwright is not None:
                    log.warning("Playwright's driver has ended; starting it again")
                await self._stop()
                await self._start()
            assert self._playwright is not None
            return self._playwright

    def kill(self) -> None:
        """End the driver and its browsers at once; every call that waits for it raises."""
        self._dead = True
        if self._process is not None:
            kill_tree(self._process)

    async def close(self) -> None:
        """End the driver in good order, or by force. It can be started again."""
        async with self._lock:
            await self._stop()

    async def _start(self) -> None:
        manager = async_playwright()

        def kill() -> None:
            # Playwright does not tell the process otherwise.
            with contextlib.suppress(AttributeError, psutil.Error):
                kill_tree(psutil.Process(manager._connection._transport._proc.pid))  # type: ignore[attr-defined]

        options = " ".join(filter(None, (os.environ.get("NODE_OPTIONS"), _DEAF)))
        environment = {"NODE_OPTIONS": options}
        temporary = Path(tempfile.gettempdir())
        if swept := await asyncio.to_thread(sweep, temporary):
            log.info("removed %d directories that dead runners had left in %s", swept, temporary)
        try:
            scratch = self._scratch = Scratch(temporary)
            environment |= dict.fromkeys(VARIABLES, str(scratch.path))
            made = ffmpeg.environment(scratch.path)
            self.films = made is not None
            environment |= made or {}
            with _environment(environment):
                playwright = await bounded(manager.start(), START_LIMIT, [kill])
            self._process = psutil.Process(manager._connection._transport._proc.pid)  # type: ignore[attr-defined]
        except asyncio.CancelledError:
            kill()
            _forsake(manager)
            raise
        except Exception as e:
            kill()
            _forsake(manager)
            reason = f"no answer in {START_LIMIT:g} s" if isinstance(e, TimeoutError) else e
            raise BrowserNotStarted(
                f"Playwright's driver does not start: {reason}; reinstall the package playwright"
            ) from e
        self._playwright = playwright
        self._dead = False

    async def _stop(self) -> None:
        playwright, self._playwright = self._playwright, None
        try:
            if playwright is not None:
                with contextlib.suppress(Error, OSError, TimeoutError):
                    await bounded(playwright.stop(), 5.0, [self.kill])
        finally:
            self.kill()
            scratch, self._scratch = self._scratch, None
            if scratch is not None:
                await asyncio.to_thread(scratch.remove)


def _forsake(manager: PlaywrightContextManager) -> None:
    """Let go of a start that was given up: its own task would wait for the driver's first answer for ever,
    and with it the end of the program."""
    with contextlib.suppress(AttributeError, asyncio.InvalidStateError):
        connection = manager._connection
        connection._transport.on_error_future.add_done_callback(lambda f: f.cancelled() or f.exception())
        connection.playwright_future.cancel()
        connection.cleanup()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that Playwright hands on to its driver."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
