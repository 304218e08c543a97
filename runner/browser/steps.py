"""The steps of a journey, taken one by one."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import urljoin

from playwright.async_api import Error, Frame, Page, expect
from playwright.async_api import Locator as Place

from broker_config.journey import Check, Expect, Fill, Locator, Press, Select, WaitFor
from broker_config.messages import Dispatch, StepRecord
from broker_config.messages.record import MAX_STEPS
from runner.core.behaviour import PagePlan
from runner.core.failure import tidy
from runner.core.journey_plan import PlannedStep, may_go

from .page_book import PageBook
from .page_script import ACT, act_argument
from .page_visit import PageVisit
from .shots import Shots

#: A page that is not scrolled: it is only measured.
STILL = PagePlan(look=0.0, steps=(), dwell=0.0)
#: Actions after which the page may be another.
_LEAVING = ("goto", "click", "press", "select", "check")
MAX_ERROR = 200


class StepFailed(Error):
    """A step did not come to what it should."""


class Steps:
    """`take` takes the steps on a page that is open, or that the first of them, a `goto`, opens.

    `records` is complete at any time; `failed` is the step that ended the session. `scroll` tells how the
    page is scrolled. What Playwright says of a failure may tell what is in a field: `mask` takes out of it
    what nobody is to know.
    """

    def __init__(
        self,
        page: Page,
        book: PageBook,
        dispatch: Dispatch,
        steps: Sequence[PlannedStep],
        *,
        scroll: PagePlan,
        shots: Shots,
        say: Callable[[str, str], None],
        mask: Callable[[str], str],
        records: list[StepRecord],
    ) -> None:
        self._page = page
        self._book = book
        self._dispatch = dispatch
        self._steps = steps
        self._scroll = scroll
        self._shots = shots
        self._say = say
        self._mask = mask
        self._limit = float(dispatch.limits.navigation)
        self._visit: PageVisit | None = None
        self._moved = False
        self.records = records
        self.failed: PlannedStep | None = None

    async def take(self) -> None:
        """Take all steps. Raises Playwright's `Error` of the step that failed."""
        page, book = self._page, self._book
        page.on("framenavigated", self._on_navigated)
        if not self._blank:
            book.turning = True
            await self._arrived()
        for step in self._steps:
            if step.think:
                await asyncio.sleep(step.think)
            await self._one(step)
            book.turning = book.turning or not self._blank
        await self._measure()

    async def _one(self, step: PlannedStep) -> None:
        if step.action in _LEAVING or step.action == "scroll":
            await self._measure(settle=step.action == "scroll")
        self.failed = step  # until it has succeeded
        self._moved = False
        began = time.monotonic()
        error = ""
        try:
            await self._do(step)
            if self._moved:
                rest = max(0.1, step.timeout - (time.monotonic() - began))
                await self._page.wait_for_load_state("load", timeout=rest * 1000)
            status = self._book.current.status
            if self._moved and status is not None and status >= 400:
                raise StepFailed(f"the server answered {status}")
        except (Error, AssertionError) as e:
            if not self._page.context.browser or not self._page.context.browser.is_connected():
                raise
            error = tidy(self._mask(e.message if isinstance(e, Error) else str(e)))[:MAX_ERROR]
            if not step.optional or self._book.crashed or self._page.is_closed():
                self._record(step, began, error)
                raise e if isinstance(e, Error) else StepFailed(error) from e
        finally:
            self._book.navigating = False
        self._record(step, began, error)
        self.failed = None
        self._book.request_failure = None
        if self._moved and not self._blank:
            await self._arrived()

    def _record(self, step: PlannedStep, began: float, error: str) -> None:
        ms = round((time.monotonic() - began) * 1000, 1)
        if len(self.records) < MAX_STEPS:
            self.records.append(StepRecord(name=step.name, ms=ms, ok=not error, error=error))
        self._say("step", f"{step}: {error or f'{ms:g} ms'}")

    async def _do(self, step: PlannedStep) -> None:
        page, ms = self._page, step.timeout * 1000
        match step.action, step.argument:
            case "goto", str(address):
                url = urljoin(self._dispatch.url if self._blank else page.url, address)
                if not may_go(url, self._dispatch):
                    raise StepFailed("the address is at no origin of the job's targets")
                self._book.navigating = True
                await page.goto(url, wait_until="load", timeout=ms)
            case "click", Locator() as where:
                await self._place(where).click(timeout=ms)
            case "hover", Locator() as where:
                await self._place(where).hover(timeout=ms)
            case "fill", Fill() as fill:
                await self._place(fill).fill(fill.value, timeout=ms)
            case "select", Select() as select:
                await self._place(select).select_option(select.option, timeout=ms)
            case "check", Check() as check:
                await self._place(check).set_checked(check.checked, timeout=ms)
            case "press", Press() as press:
                # Where the focus is, it is an element's: so that a submitted form is waited for.
                place = self._place(press) if not press.is_empty else page.locator(":focus, body").last
                await place.press(press.key, timeout=ms)
            case "scroll", where:
                await self._scroll_to(where, ms)
            case "wait_for", WaitFor() as wait:
                if wait.url is not None:
                    await page.wait_for_url(wait.url, timeout=ms, wait_until="commit")
                if not wait.is_empty:
                    place = self._place(wait)
                    place = place if wait.nth is not None else place.first
                    await place.wait_for(state=wait.state, timeout=ms)
            case "expect", Expect() as wanted:
                await self._expect(wanted, ms)
            case "screenshot", str(name):
                await self._shots.take(page, name, ms)
            case _:
                await asyncio.sleep(step.stay)

    async def _scroll_to(self, where: object, ms: float) -> None:
        if isinstance(where, Locator):
            await self._place(where).scroll_into_view_if_needed(timeout=ms)
        elif isinstance(where, int):
            await self._page.evaluate("by => scrollBy({top: by, behavior: 'instant'})", where)
        elif where == "top":
            await self._page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        else:
            await self._page.evaluate_handle(ACT, act_argument(self._scroll))

    async def _expect(self, wanted: Expect, ms: float) -> None:
        page = self._page
        if wanted.url is not None:
            await page.wait_for_url(wanted.url, timeout=ms, wait_until="commit")
        if wanted.title is not None:
            await expect(page).to_have_title(re.compile(re.escape(wanted.title)), timeout=ms)
        if wanted.is_empty:
            return
        place = self._place(wanted)
        if wanted.count is not None:
            await expect(place).to_have_count(wanted.count, timeout=ms)
            return
        if wanted.nth is None:
            place = place.first
        if wanted.value is not None:
            await expect(place).to_have_value(wanted.value, timeout=ms)
        elif wanted.state == "hidden":
            await expect(place).to_be_hidden(timeout=ms)
        else:
            await expect(place).to_be_visible(timeout=ms)

    @property
    def _blank(self) -> bool:
        """Whether nothing was opened yet."""
        return self._page.url == "about:blank"

    def _place(self, where: Locator) -> Place:
        return locate(self._page, where)

    async def _arrived(self) -> None:
        """A page is open: measure it from now on."""
        self._visit = PageVisit(self._page, self._book, self._limit)
        await self._visit.act(STILL, leaving=True)

    async def _measure(self, *, settle: bool = False) -> None:
        if self._visit is not None:
            await self._visit.measure(settle=settle)

    def _on_navigated(self, frame: Frame) -> None:
        if self._book.is_main_frame(frame):
            self._moved = True


def locate(page: Page, where: Locator) -> Place:
    """Playwright's locator."""
    exact = where.exact or None
    text = where.text
    if where.role is not None:
        place = page.get_by_role(where.role, name=where.name, exact=exact)  # type: ignore[arg-type]
    elif where.label is not None:
        place = page.get_by_label(where.label, exact=exact)
    elif where.test_id is not None:
        place = page.get_by_test_id(where.test_id)
    elif where.css is not None:
        place = page.locator(f"css={where.css}")
    else:
        place, text = page.get_by_text(text or "", exact=exact), None
    if text is not None:
        place = place.filter(has_text=text)
    return place if where.nth is None else place.nth(where.nth)
