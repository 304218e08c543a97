"""One session: a fresh context, the target, behaviour as planned, the measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Response,
)
from playwright.async_api import TimeoutError as PlaywrightTimeout

from broker_config.messages import Dispatch, Measures
from runner.core.behaviour import BehaviourPlan
from runner.core.failure import Evidence

from .page_script import ACT, READ, act_argument, read_measures

#: Called with an event name and a text (the same as in the port).
Say = Callable[[str, str], None]
#: Documents that a page may replace itself with while it is being read.
MAX_REPLACED = 3


class Session:
    """`visit` does all; what it raises is for `evidence` to explain. `freeze` fills `measures` with what is
    known then."""

    def __init__(self, dispatch: Dispatch, plan: BehaviourPlan, user_agent: str, say: Say) -> None:
        self.measures = Measures()
        self.context: BrowserContext | None = None
        self._dispatch = dispatch
        self._plan = plan
        self._user_agent = user_agent
        self._say = say
        self._page: Page | None = None
        self._read: dict[str, Any] = {}
        self._requests = 0
        self._failed = 0
        self._console = 0
        self._status: int | None = None
        self._request_failure: str | None = None
        self._navigation_limit: float | None = None
        self._navigating = True
        self._crashed = False
        self._closed = False

    async def visit(self, browser: Browser) -> None:
        """Open, go, act, dwell, read. Raises Playwright's `Error`."""
        self.context = await browser.new_context(user_agent=self._user_agent)
        page = self._page = await self.context.new_page()
        self._listen(page)
        await self._go(page)
        self._navigating = False
        self._say("step", f"loaded {self._dispatch.url} ({self._status})")
        await self._act(page)

    async def close(self) -> None:
        """Close the context, where there is one."""
        if self.context is not None:
            await self.context.close()

    def freeze(self) -> None:
        """Take the measures. What happens from now on is our own leaving, and counts no more."""
        self.measures = read_measures(
            self._read,
            Measures(
                http_status=self._status,
                requests=self._requests,
                failed_requests=self._failed,
                console_errors=self._console,
            ),
        )

    def evidence(
        self, *, error: str | None, browser_gone: bool, runner_fault: bool, session_limit: float | None
    ) -> Evidence:
        """All that `classify` needs."""
        return Evidence(
            session_limit=session_limit,
            navigation_limit=self._navigation_limit,
            browser_gone=browser_gone,
            runner_fault=runner_fault,
            page_crashed=self._crashed,
            page_closed=self._closed,
            navigating=self._navigating,
            request_failure=self._request_failure,
            http_status=self._status,
            error=error,
        )

    async def _go(self, page: Page) -> None:
        limit = float(self._dispatch.limits.navigation)
        until = time.monotonic() + limit
        try:
            try:
                await page.goto(self._dispatch.url, wait_until="load", timeout=limit * 1000)
            except Error as e:
                # A page that sends its visitors on before it has loaded is no failure: follow.
                if "interrupted by another navigation" not in e.message:
                    raise
                rest = max(1.0, (until - time.monotonic()) * 1000)
                await page.wait_for_load_state("load", timeout=rest)
        except PlaywrightTimeout:
            self._navigation_limit = limit
            raise

    async def _act(self, page: Page) -> None:
        for replaced in range(MAX_REPLACED + 1):
            try:
                state = await page.evaluate_handle(ACT, act_argument(self._plan))
                self._read = await state.evaluate(READ)
                break
            except Error as e:
                # The page went elsewhere by itself, as pages may.
                if not _is_replaced(e) or replaced == MAX_REPLACED:
                    raise
                await page.wait_for_load_state("load", timeout=float(self._dispatch.limits.navigation) * 1000)
        self._say("step", f"scrolled in {self._read['steps']} steps")
        if self._plan.dwell:
            await asyncio.sleep(self._plan.dwell)
            try:
                self._read = await state.evaluate(READ)
            except Error as e:
                if not _is_replaced(e):
                    raise

    def _listen(self, page: Page) -> None:
        # Of all events only these: each that is listened to costs a message from the driver.
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_request_failed)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)
        page.on("crash", self._on_crash)
        page.on("close", self._on_close)

    def _on_response(self, response: Response) -> None:
        self._requests += 1
        if response.status >= 400:
            self._failed += 1
        if self._is_main(response.request):
            self._status = response.status

    def _on_request_failed(self, request: Request) -> None:
        self._requests += 1
        self._failed += 1
        if self._navigating and self._is_main(request):
            self._request_failure = request.failure

    def _on_console(self, message: ConsoleMessage) -> None:
        # Chromium also logs each failed load here; it counts as a failed request already.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._console += 1

    def _on_page_error(self, _: Error) -> None:
        self._console += 1

    def _on_crash(self, _: Page) -> None:
        self._crashed = True

    def _on_close(self, _: Page) -> None:
        self._closed = True

    def _is_main(self, request: Request) -> bool:
        page = self._page
        return page is not None and request.is_navigation_request() and request.frame == page.main_frame


def _is_replaced(error: Error) -> bool:
    """Whether a call failed because its document is no more."""
    text = error.message
    return "context was destroyed" in text or "Cannot find context" in text or "disposed" in text
