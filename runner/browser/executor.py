"""Runs sessions in real browsers: the executor of a runner."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from playwright.async_api import Error

from broker_config.errors import BrowserError, BrowserNotStarted
from broker_config.messages import Dispatch, ErrorInfo, PlatformOffer
from broker_config.platform import this_system
from runner.core.behaviour import plan_behaviour
from runner.core.egress_pool import EgressPool
from runner.core.failure import classify, tidy
from runner.core.identity import marked, of_session
from runner.core.journey_plan import plan_journey
from runner.core.outcome import Outcome

from .bounded import bounded, end
from .browser_pool import RETIRE_AFTER, BrowserPool
from .device import context_options, user_agent
from .driver import Driver
from .found import FoundBrowser
from .installer import ensure
from .processes import sweep_orphans
from .running import RunningBrowser
from .session import Say, Session

log = logging.getLogger(__name__)

#: Seconds in which a context has to close, before its browser is killed.
CLOSE_LIMIT = 5.0
TRIAL_LIMIT = 20.0


class BrowserExecutor:
    """The `Executor` of real runners.

    `browsers` holds names, paths or `<name>=<path>`; None takes what there is (see `finder.installed`). `say`
    hears what takes time at the start. `retire_after` is the number of sessions after which a browser is
    replaced; `clock` gives seconds, for durations.
    """

    def __init__(
        self,
        browsers: Sequence[str] | None = None,
        *,
        say: Callable[[str], None] = log.info,
        retire_after: int = RETIRE_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = browsers
        self._tell = say
        self._retire_after = retire_after
        self._clock = clock
        self._driver = Driver()
        self._pools: dict[str, BrowserPool] = {}
        self._offers: list[PlatformOffer] = []

    @property
    def platforms(self) -> Sequence[PlatformOffer]:
        return tuple(self._offers)

    async def start(self) -> None:
        """Find the browsers and start each once. Raises `BrowserError` if none can be started."""
        swept = sweep_orphans()
        if swept:
            self._tell(f"ended {swept} browser(s) that a runner had left behind")
        troubles = []
        try:
            for found in await ensure(self._wanted, self._tell):
                self._tell(f"starting {found}")
                try:
                    await self._try(found)
                except BrowserError as e:
                    self._tell(str(e))
                    troubles.append(str(e))
            if not self._pools:
                raise BrowserNotStarted("; ".join(troubles))
        except BaseException:
            await self.close()
            raise

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        """Run one session; see `Executor.run`."""
        browsers = self._pools.get(dispatch.platform)
        if browsers is None:
            offered = ", ".join(self._pools) or "nothing"
            return _not_run("platform_not_offered", f"asked for {dispatch.platform}; offered is {offered}")
        try:
            async with browsers.lease() as running:
                return await self._run(running, browsers, dispatch, say)
        except BrowserNotStarted as e:
            return _not_run("browser_not_started", str(e))

    async def close(self) -> None:
        """End all browsers and the driver; running sessions fail."""
        pools, self._pools, self._offers = self._pools, {}, []
        try:
            for pool in pools.values():
                await pool.close()
        finally:
            await self._driver.close()

    async def _run(self, running: RunningBrowser, pool: BrowserPool, dispatch: Dispatch, say: Say) -> Outcome:
        plan = plan_behaviour(dispatch.behaviour, dispatch.seed)
        try:
            options = await self._options(pool, dispatch)
            journey = plan_journey(dispatch)
        except KeyError as e:
            return _not_run("not_known_here", f"this runner knows no {e.args[0]!r}, which the session needs")
        session = Session(dispatch, plan, options, say, journey)
        limit = float(dispatch.limits.session)
        began = self._clock()
        visit = asyncio.create_task(session.visit(running.browser))
        try:
            await asyncio.wait({visit}, timeout=limit)
            late = not visit.done()
            error = visit.exception() if visit.done() and not visit.cancelled() else None
            # Asked for now: afterwards it could be our own doing.
            session.freeze()
            gone = error is not None and await running.ended_by(error)
            evidence = session.evidence(
                error=None if error is None else str(error) or type(error).__name__,
                browser_gone=gone,
                runner_fault=not isinstance(error, Error | None),
                session_limit=limit if late else None,
            )
        finally:
            await _leave(session, visit, running)
        if evidence.runner_fault and not gone:
            log.error("unexpected error in a session", exc_info=error)
        info = classify(evidence)
        return Outcome(
            status="ok" if info is None else "failed",
            duration_ms=round((self._clock() - began) * 1000, 1),
            error=info,
            measures=session.measures,
            pages=session.pages,
            steps=session.steps,
            shots=session.shots.taken,
        )

    async def _options(self, pool: BrowserPool, dispatch: Dispatch) -> dict[str, Any]:
        """Arguments of the session's context. `KeyError` names a device that Playwright does not have."""
        agent, options = pool.user_agent, {}
        if (device := dispatch.device) is not None:
            devices = (await self._driver.playwright()).devices
            options = context_options(device, devices, pool.found.browser)
            if "user_agent" in options:
                agent = marked(user_agent(options["user_agent"], agent), metadata.version("trafficbuster"))
        return {**options, "user_agent": of_session(agent, dispatch)}

    async def _try(self, found: FoundBrowser) -> None:
        """Start a browser, see that it works and what it calls itself; start it again as sessions need it."""
        platform = f"{this_system()}-{found.browser}"
        trial = BrowserPool(found, self._driver)
        try:
            async with trial.lease() as running:
                version = running.browser.version
                try:
                    own = await bounded(
                        _own_user_agent(running), TRIAL_LIMIT, [running.kill, running.kill_driver]
                    )
                except (Error, TimeoutError) as e:
                    reason = tidy(str(e)) or "no answer"
                    raise BrowserNotStarted(f"{found} starts, but opens no page: {reason}") from e
        finally:
            await trial.close()
        pool = BrowserPool(found, self._driver, retire_after=self._retire_after)
        pool.user_agent = marked(own, metadata.version("trafficbuster"))
        await pool.warm()
        self._pools[platform] = pool
        self._offers.append(PlatformOffer(platform=platform, browser_version=version))


async def _own_user_agent(running: RunningBrowser) -> str:
    context = await running.browser.new_context()
    page = await context.new_page()
    return str(await page.evaluate("navigator.userAgent"))


async def _leave(session: Session, visit: asyncio.Task[None], running: RunningBrowser) -> None:
    """End the session, whatever state it is in: close the context, or else kill the browser."""
    unfinished = not visit.done()
    visit.cancel()
    if unfinished and session.context is None:
        # A context may be in the making that nobody will ever close; it goes with its browser.
        running.retired = True
    closing = asyncio.create_task(session.close())
    await end({visit, closing}, [running.kill, running.kill_driver], CLOSE_LIMIT)


def _not_run(kind: str, detail: str) -> Outcome:
    return Outcome(status="failed", error=ErrorInfo(kind=kind, detail=detail, infrastructure=True))
