"""A page that is open: acted on by its script, and measured."""

from __future__ import annotations

import asyncio

from playwright.async_api import Error, JSHandle, Page

from runner.core.behaviour import PagePlan

from .page_book import PageBook, PageTally
from .page_script import ACT, READ, SETTLE, act_argument

#: Documents that a page may replace itself with while it is being read.
MAX_REPLACED = 3


class PageVisit:
    """`act` does all that the plan says; `measure` reads again. `limit` is that of navigations, seconds."""

    def __init__(self, page: Page, book: PageBook, limit: float) -> None:
        self._page = page
        self._book = book
        self._limit = limit
        self._tally: PageTally = book.current
        self._state: JSHandle | None = None

    async def act(self, plan: PagePlan, *, leaving: bool = False) -> int:
        """Look, scroll, dwell, and measure; the number of scroll steps. Raises Playwright's `Error`."""
        argument = act_argument(plan, leaving=leaving)
        for replaced in range(MAX_REPLACED + 1):
            try:
                self._state = await self._page.evaluate_handle(ACT, argument)
                self._take(await self._state.evaluate(READ))
                break
            except Error as e:
                # The page went elsewhere by itself, as pages may.
                if not is_replaced(e) or replaced == MAX_REPLACED:
                    raise
                await self._page.wait_for_load_state("load", timeout=self._limit * 1000)
        return int(self._tally.read["steps"])

    async def dwell(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
            await self.measure()

    async def measure(self, *, settle: bool = False) -> None:
        """Read the measures once more; nothing changes where the page has gone. `settle` is for a page that
        is going to be scrolled."""
        if self._state is not None:
            try:
                self._take(await self._state.evaluate(SETTLE if settle else READ))
            except Error as e:
                if not is_replaced(e):
                    raise

    def _take(self, read: dict[str, object]) -> None:
        pages = self._book.pages
        self._tally.read = read
        left, here = read.get("left"), pages.index(self._tally)
        if here and isinstance(left, int | float):
            before = pages[here - 1]
            before.read = {**before.read, "inp": left}


def is_replaced(error: Error) -> bool:
    """Whether a call failed because its document is no more."""
    text = error.message
    return "context was destroyed" in text or "Cannot find context" in text or "disposed" in text
