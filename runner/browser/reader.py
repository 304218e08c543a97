"""The reader: reads a page, and follows links as planned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from playwright.async_api import Frame, Page, Request
from playwright.async_api import TimeoutError as PlaywrightTimeout

from runner.core.behaviour import BehaviourPlan, PagePlan
from runner.core.journey_links import Link, followable, picked

from .page_book import PageBook
from .page_script import AIM, LINKS
from .page_visit import PageVisit

#: Links of a page that are looked at.
MAX_LINKS = 300
#: Seconds after a click in which a navigation has to begin.
BEGIN_LIMIT = 3.0


class Reader:
    """`read` begins on a page that has loaded. Links are followed with the mouse, never by a call of their
    own: the page sees a click. `limit` is that of navigations, seconds."""

    def __init__(
        self,
        page: Page,
        book: PageBook,
        plan: BehaviourPlan,
        *,
        deny: Sequence[str],
        limit: float,
        say: Callable[[str, str], None],
    ) -> None:
        self._page = page
        self._book = book
        self._plan = plan
        self._deny = deny
        self._limit = limit
        self._say = say

    async def read(self) -> None:
        """Read the pages of the plan. Raises Playwright's `Error`."""
        pages = self._plan.pages
        for plan in pages:
            visit = PageVisit(self._page, self._book, self._limit)
            steps = await visit.act(plan, leaving=len(pages) > 1)
            self._say("step", f"scrolled in {steps} steps")
            await visit.dwell(plan.dwell)
            if not plan.follow or not await self._follow(plan, visit):
                return

    async def _follow(self, plan: PagePlan, visit: PageVisit) -> bool:
        """Whether another page was reached and loaded."""
        found = await self._page.evaluate(LINKS, MAX_LINKS)
        links = [
            Link(index=i, href=href, words=words, download=download, special=special)
            for i, href, words, download, special in found["links"]
        ]
        chosen = picked(followable(links, found["page"], self._deny), plan.picks)
        if not chosen:
            self._say("step", "no link to follow")
            return False
        if plan.think:
            await asyncio.sleep(plan.think)
        for link in chosen:
            spot = await self._page.evaluate(AIM, [link.index, link.href])
            if spot is not None:
                await visit.measure()
                return await self._click(link, spot[0], spot[1])
        self._say("step", "the links to follow are covered")
        return False

    async def _click(self, link: Link, x: float, y: float) -> bool:
        page, book = self._page, self._book
        begun, reached = asyncio.Event(), asyncio.Event()

        def on_request(request: Request) -> None:
            if book.is_main(request):
                book.navigating = True
                begun.set()

        def on_failed(request: Request) -> None:
            if book.is_main(request):
                reached.set()

        def on_navigated(frame: Frame) -> None:
            if book.is_main_frame(frame):
                begun.set()
                reached.set()

        book.turning = True
        page.on("request", on_request)
        page.on("requestfailed", on_failed)
        page.on("framenavigated", on_navigated)
        try:
            await page.mouse.click(x, y)
            try:
                async with asyncio.timeout(BEGIN_LIMIT):
                    await begun.wait()
            except TimeoutError:
                self._say("step", f"a click on {link.href} led nowhere")
                return False
            until = asyncio.get_running_loop().time() + self._limit
            try:
                async with asyncio.timeout_at(until):
                    await reached.wait()
            except TimeoutError:
                raise PlaywrightTimeout(f"no answer to a click on {link.href}") from None
            failure = book.request_failure
            if failure is not None:
                if "ABORT" in failure:  # a download, or an answer without content
                    book.request_failure = None
                    self._say("step", f"a click on {link.href} led to no page")
                return False
            rest = max(0.1, until - asyncio.get_running_loop().time())
            await page.wait_for_load_state("load", timeout=rest * 1000)
        finally:
            book.turning = False
            page.remove_listener("request", on_request)
            page.remove_listener("requestfailed", on_failed)
            page.remove_listener("framenavigated", on_navigated)
        book.navigating = False
        self._say("step", f"followed a link to {page.url} ({book.current.status})")
        return (book.current.status or 200) < 400
