"""One session: a fresh context, the target, behaviour or journey as planned, the measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from playwright.async_api import Browser, BrowserContext, Error, Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from broker_config.messages import Dispatch, Measures, PageMeasures, StepRecord
from broker_config.messages.record import MAX_PAGES
from runner.core.behaviour import BehaviourPlan
from runner.core.failure import Evidence
from runner.core.journey_plan import PlannedStep
from runner.core.masking import SecretMask
from runner.gate.browser_side import context_proxy
from runner.gate.lease import Lease

from .device import throttle
from .page_book import PageBook
from .reader import Reader
from .recording import Recording
from .script_run import ScriptRun
from .shots import Shots
from .steps import Steps
from .watch import Watch

#: Called with an event name and a text (the same as in the port).
Say = Callable[[str, str], None]


class Session:
    """`visit` does all; what it raises is for `evidence` to explain. `freeze` fills `measures`, `pages` and
    `steps` with what is known then. `options` are those of the browser's context; `journey` is empty where
    the session reads as `plan` says. All its traffic goes through `lease`. When `watch.strayed` is set, the
    session is to be ended. `say` masks what it is told; `mask` does so for errors, before they are cut."""

    def __init__(
        self,
        dispatch: Dispatch,
        plan: BehaviourPlan,
        options: Mapping[str, Any],
        say: Say,
        lease: Lease,
        recording: Recording,
        mask: Callable[[str], str],
        journey: Sequence[PlannedStep] = (),
    ) -> None:
        self.measures = Measures()
        self.pages: list[PageMeasures] = []
        self.steps: list[StepRecord] = []
        self.shots = Shots(recording.covered)
        self.recording = recording
        self.context: BrowserContext | None = None
        self.page: Page | None = None
        self._dispatch = dispatch
        self._plan = plan
        self._options = options
        self._say = say
        self._mask = mask
        self._journey = journey
        self._lease = lease
        self.watch = Watch(lease.policy)
        self._book = PageBook(dispatch.url, lease.explain)
        self._records: list[StepRecord] = []
        self._taking: Steps | None = None
        self._scripted: ScriptRun | None = None
        self._limit = float(dispatch.limits.navigation)
        self._navigation_limit: float | None = None

    async def visit(self, browser: Browser) -> None:
        """Open, go, act, dwell, read. Raises Playwright's `Error`."""
        options = {**self._options, **self.recording.options(), "proxy": context_proxy(self._lease)}
        if self._dispatch.script is not None:
            options["base_url"] = self._dispatch.url  # so that scripts can say page.goto("/cart")
        self.context = await browser.new_context(**options, accept_downloads=False)
        self.watch.over(self.context)
        await self.recording.begin(self.context)
        page = self.page = await self.context.new_page()
        self._book.listen(page)
        if (device := self._dispatch.device) is not None:
            kind = self._dispatch.platform.rpartition("-")[2]
            for lack in await throttle(device, kind, self.context, page):
                self._say("line", lack)
        if (script := self._dispatch.script) is not None:
            self._scripted = ScriptRun(
                page,
                self._book,
                self._dispatch,
                script,
                say=self._say,
                mask=self._mask,
                records=self._records,
            )
            await self._scripted.run(self.context)
            return
        if not self._journey or self._journey[0].action != "goto":
            await self._go(page)
            self._book.navigating = False
            if self._book.current.from_gate:
                return
            self._say("step", f"loaded {self._dispatch.url} ({self._book.current.status})")
        try:
            await self._act(page)
        except PlaywrightTimeout:
            if self._book.navigating:
                self._navigation_limit = self._limit
            raise

    @property
    def is_cut(self) -> bool:
        """Its job is killed: it ends without grace."""
        return self._lease.is_cut

    async def close(self) -> None:
        """Close the context, where there is one."""
        if self.context is not None:
            await self.context.close()

    def freeze(self) -> None:
        """Take the measures. What happens from now on is our own leaving, and counts no more."""
        pages = self._book.pages
        self.measures = pages[0].measures()
        if len(pages) > 1:
            self.pages = [p.record(SecretMask(self._dispatch)) for p in pages[:MAX_PAGES]]
        self.steps = list(self._records)

    def evidence(
        self, *, error: str | None, browser_gone: bool, runner_fault: bool, session_limit: float | None
    ) -> Evidence:
        """All that `classify` needs."""
        book = self._book
        failed = self._taking.failed if self._taking is not None else None
        step = str(failed) if failed is not None else None
        script = self._scripted
        place = network = None
        if script is not None:
            place, network = script.failed or script.where, script.network
            if script.in_step:
                step, place = script.failed, None
        seen = Evidence(
            session_limit=session_limit,
            navigation_limit=self._navigation_limit,
            browser_gone=browser_gone,
            runner_fault=runner_fault,
            page_crashed=book.crashed,
            # A script may close its page.
            page_closed=book.closed and script is None,
            navigating=book.navigating,
            request_failure=network or book.request_failure,
            # In a journey each step has judged the page that it led to.
            http_status=book.current.status if self._taking is None else None,
            error=None if error is None else self._mask(error),
            step=step,
            stray=self.watch.origin,
            script=place,
        )
        return self.with_egress(seen)

    def with_egress(self, evidence: Evidence) -> Evidence:
        """With what the gate knows of the session's traffic; complete when `lease.settle` is over."""
        return msgspec.structs.replace(
            evidence, gate=self._book.why_not(), lost_requests=self._lease.report().own_failures
        )

    async def _go(self, page: Page) -> None:
        until = time.monotonic() + self._limit
        try:
            try:
                await page.goto(self._dispatch.url, wait_until="load", timeout=self._limit * 1000)
            except Error as e:
                # A page that sends its visitors on before it has loaded is no failure: follow.
                if "interrupted by another navigation" not in e.message:
                    raise
                rest = max(1.0, (until - time.monotonic()) * 1000)
                await page.wait_for_load_state("load", timeout=rest)
        except PlaywrightTimeout:
            self._navigation_limit = self._limit
            raise

    async def _act(self, page: Page) -> None:
        if self._journey:
            status = self._book.current.status
            if status is not None and status >= 400:
                return  # the site's answer says it all
            self._taking = Steps(
                page,
                self._book,
                self._dispatch,
                self._journey,
                scroll=self._plan.pages[0],
                shots=self.shots,
                say=self._say,
                mask=self._mask,
                records=self._records,
            )
            await self._taking.take()
            return
        deny = self._dispatch.behaviour.deny
        reader = Reader(page, self._book, self._plan, deny=deny, limit=self._limit, say=self._say)
        await reader.read()
