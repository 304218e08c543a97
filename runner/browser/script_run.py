"""A scripted journey: the user's own function on the session's page, its steps timed, its pages measured."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import traceback
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from playwright.async_api import BrowserContext, Error, Frame, Page

from broker_config.journey import MAX_NAME
from broker_config.messages import Dispatch, StepRecord
from broker_config.messages.record import MAX_STEPS
from broker_config.script import Script, takes_data
from runner.core.failure import tidy
from runner.core.journey_plan import values_of

from .page_book import PageBook
from .page_visit import PageVisit
from .script_bounds import RUN, keep_apart
from .script_watch import MODULE, ScriptBlocked, watched
from .steps import MAX_ERROR, STILL

log = logging.getLogger(__name__)

#: Seconds for a script to end when its session does.
GRACE = 2.0


class ScriptFailed(Error):
    """The script did not come to its end. The message has no place in it: see `ScriptRun.failed`."""


class ScriptRun:
    """`run` calls the function. The page is blank then: the script opens what it wants.

    `records` is complete at any time. After a failure `failed` says where it was, and `in_step` whether it
    was in a step; `network` holds the error of the browser's network, where that was the reason. `mask` takes
    out of errors what nobody is to know.
    """

    def __init__(
        self,
        page: Page,
        book: PageBook,
        dispatch: Dispatch,
        script: Script,
        *,
        say: Callable[[str, str], None],
        mask: Callable[[str], str],
        records: list[StepRecord],
    ) -> None:
        self._page = page
        self._book = book
        self._dispatch = dispatch
        self._script = script
        self._say = say
        self._mask = mask
        self._limit = float(dispatch.limits.navigation)
        self._visit: PageVisit | None = None
        self._arrivals: asyncio.TaskGroup | None = None
        self._running: Any = None
        self._task: asyncio.Task[BaseException | None] | None = None
        self._broken: BaseException | None = None
        #: The step that an exception has just left.
        self._left: tuple[BaseException, str] | None = None
        self.records = records
        self.failed: str | None = None
        self.in_step = False
        self.network: str | None = None

    async def run(self, context: BrowserContext) -> None:
        """Raises `ScriptFailed`, and what a dead driver raises."""
        page = self._page
        self._book.navigating = False
        page.set_default_navigation_timeout(self._limit * 1000)
        page.on("framenavigated", self._on_navigated)
        page.on("load", self._on_load)
        keep_apart(page)
        async with asyncio.TaskGroup() as self._arrivals:
            # A task of its own: who asks the session to end must not depend on the script's consent.
            self._task = asyncio.create_task(self._called(context), name="script")
            try:
                await asyncio.wait({self._task})
            finally:
                self._arrivals = None
                if not self._task.done():
                    await self._end(self._task)
        error = self._broken or self._task.result()
        await self._measure()
        if error is not None:
            self._fail(error)

    @property
    def where(self) -> str | None:
        """Where the script is now: `pay.py line 12`."""
        awaited, line = self._running, 0
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
            if frame is not None and frame.f_globals.get("__name__") == MODULE:
                line = frame.f_lineno
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
        return f"{self._script.label} line {line}" if line else None

    def break_off(self, error: BaseException) -> None:
        """A handler of the script has failed, outside of its function."""
        if self._broken is None and self._task is not None:
            self._broken = error
            self._task.cancel()

    async def _end(self, task: asyncio.Task[BaseException | None]) -> None:
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=GRACE)
        if pending:
            log.error("%s does not end when it is told to, and goes on without its page", self._script.label)

    async def _called(self, context: BrowserContext) -> BaseException | None:
        """What the script has raised: anything at all, and none of it may reach the runner's loop. The
        session's own cancellation does not pass here: it is `run` that is cancelled, and lets it through."""
        try:
            with watched():
                await self._call(context)
        except BaseException as e:
            return e
        finally:
            self._running = None
        return None

    async def _call(self, context: BrowserContext) -> None:
        script = self._script
        namespace: dict[str, Any] = {"__name__": MODULE, "__file__": script.label, "step": self._step}
        namespace[RUN] = self
        exec(compiled(script.source, script.label), namespace)
        arguments: list[object] = [self._page, context]
        if takes_data(script.source, script.function):
            arguments.append(values_of(self._dispatch))
        self._running = namespace[script.function](*arguments)
        await self._running

    @contextlib.asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        """`step` in scripts: a step of this name, timed and reported."""
        name = str(name)[:MAX_NAME] or "step"
        await self._measure()
        began = time.monotonic()
        try:
            yield
        except (Exception, ScriptBlocked) as e:
            self._record(name, began, reason(e, self._script, self._mask)[:MAX_ERROR])
            if self._left is None or self._left[0] is not e:
                self._left = (e, name)
            raise
        self._record(name, began, "")
        await self._measure()

    def _record(self, name: str, began: float, error: str) -> None:
        ms = round((time.monotonic() - began) * 1000, 1)
        if len(self.records) < MAX_STEPS:
            self.records.append(StepRecord(name=name, ms=ms, ok=not error, error=error))
        self._say("step", f'step "{name}": {error or f"{ms:g} ms"}')

    def _fail(self, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        from_driver = type(error) is Exception and frames and "playwright" in frames[-1].filename
        if from_driver and "Connection closed" in str(error):
            raise error  # its driver is dead
        said = reason(error, self._script, self._mask)
        where = place(error, self._script)
        if self._left is not None and self._left[0] is error:
            self.in_step = True
            where = f'step "{self._left[1]}", {where}'
        self.failed = where
        if isinstance(error, Error) and re.search(r"net::ERR_|NS_ERROR_", error.message):
            self.network = tidy(self._mask(error.message))
        raise ScriptFailed(said) from error

    def _on_navigated(self, frame: Frame) -> None:
        if self._book.is_main_frame(frame) and frame.url != "about:blank":
            self._book.turning = True

    def _on_load(self, _: Page) -> None:
        if self._arrivals is not None and self._page.url != "about:blank":
            self._arrivals.create_task(self._arrived(), name="measure a page")

    async def _arrived(self) -> None:
        visit = PageVisit(self._page, self._book, self._limit)
        # What the page does meanwhile is for the script to judge.
        with contextlib.suppress(Error):
            await visit.act(STILL, leaving=True)
            self._visit = visit

    async def _measure(self) -> None:
        if self._visit is not None:
            with contextlib.suppress(Error):
                await self._visit.measure()


@lru_cache(maxsize=8)
def compiled(source: str, name: str) -> CodeType:
    return compile(source, name, "exec", dont_inherit=True)


def reason(error: BaseException, script: Script, mask: Callable[[str], str]) -> str:
    """What went wrong, on one line, masked."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return f"{type(error).__name__}: it wanted to end the program"
    if isinstance(error, ScriptBlocked):
        return str(error)
    text = error.message if isinstance(error, Error) else str(error)
    if not text:
        # An assert says nothing but itself.
        line = _line(error, script)
        lines = script.source.splitlines()
        text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    kind = "" if isinstance(error, Error) else type(error).__name__
    return tidy(": ".join(filter(None, (kind, tidy(mask(text))))))


def place(error: BaseException, script: Script) -> str:
    """Where in the script it went wrong: `pay.py line 12`."""
    line = _line(error, script)
    return f"{script.label} line {line}" if line else script.label


def _line(error: BaseException, script: Script) -> int:
    """The last line of the script that the error went through; 0 where there is none."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__") == MODULE and frame.f_code.co_filename == script.label:
            return line
    return 0
