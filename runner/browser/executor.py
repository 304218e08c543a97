"""Runs sessions in real browsers: the executor of a runner."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib import metadata
from typing import Any

import msgspec
from playwright.async_api import Error

from broker_config.errors import BrowserError, BrowserNotStarted
from broker_config.grant import Grant
from broker_config.messages import Dispatch, ErrorInfo, PlatformOffer
from broker_config.platform import this_system
from runner.core.behaviour import plan_behaviour
from runner.core.egress_policy import EgressPolicy, authorised
from runner.core.egress_pool import EgressPool
from runner.core.failure import Evidence, classify, tidy
from runner.core.identity import marked, of_session
from runner.core.journey_plan import plan_journey
from runner.core.masking import SessionMask
from runner.core.outcome import Outcome
from runner.core.session_policy import session_policy, wants_proxies
from runner.gate.event import EgressEvent, OnEvent, log_event
from runner.gate.gate import Gate
from runner.gate.lease import Lease

from .bounded import bounded, end
from .browser_pool import RETIRE_AFTER, BrowserPool
from .device import context_options, user_agent
from .driver import Driver
from .found import FoundBrowser
from .installer import ensure
from .processes import sweep_orphans
from .recording import Recording
from .running import RunningBrowser
from .session import Say, Session

log = logging.getLogger(__name__)

#: Seconds in which a context has to close, before its browser is killed.
CLOSE_LIMIT = 5.0
#: The same for a killed job.
KILLED_LIMIT = 1.0
TRIAL_LIMIT = 20.0


class BrowserExecutor:
    """The `Executor` of real runners.

    `browsers` holds names, paths or `<name>=<path>`; None takes what there is (see `finder.installed`). `say`
    hears what takes time at the start. `retire_after` is the number of sessions after which a browser is
    replaced; `clock` gives seconds, for durations.

    All traffic of its browsers goes through an egress gate of its own; `on_egress` is called with what
    happens to proxies there.
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
        self._version = metadata.version("trafficbuster")
        self.on_egress: OnEvent = log_event
        self.contact = ""
        self._egress = AsyncExitStack()
        self._gate: Gate
        self._wall: Lease

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
            self._gate = await self._egress.enter_async_context(Gate(on_event=self._on_egress))
            self._wall = await self._egress.enter_async_context(self._gate.session(EgressPolicy()))
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
        if wants_proxies(dispatch) and pool is None:
            return _not_run("egress_failed", "the session needs proxies, and its runner has none of them")
        browsers = self._pools.get(dispatch.platform)
        if browsers is None:
            offered = ", ".join(self._pools) or "nothing"
            return _not_run("platform_not_offered", f"asked for {dispatch.platform}; offered is {offered}")
        mask = SessionMask(dispatch)

        def masked(event: str, text: str) -> None:
            say(event, mask(text))

        try:
            async with browsers.lease() as running:
                with Recording(dispatch, self._driver.folder, masked, video=self._driver.films) as recording:
                    return await self._run(running, browsers, dispatch, masked, mask, pool, recording)
        except BrowserNotStarted as e:
            return _not_run("browser_not_started", str(e))

    def cut(self, job: str) -> None:
        self._gate.cut(job)

    def renew(self, grant: Grant) -> None:
        self._gate.renew(grant.job, authorised(grant.origins), grant.expires_at)

    def hold(self, held: bool) -> None:
        self._gate.hold(held)

    async def close(self) -> None:
        """End all browsers and the driver; running sessions fail."""
        pools, self._pools, self._offers = self._pools, {}, []
        try:
            for pool in pools.values():
                await pool.close()
        finally:
            try:
                await self._driver.close()
            finally:
                await self._egress.aclose()

    def _on_egress(self, event: EgressEvent) -> None:
        self.on_egress(event)

    async def _run(
        self,
        running: RunningBrowser,
        pool: BrowserPool,
        dispatch: Dispatch,
        say: Say,
        mask: SessionMask,
        proxies: EgressPool | None,
        recording: Recording,
    ) -> Outcome:
        plan = plan_behaviour(dispatch.behaviour, dispatch.seed)
        try:
            options = await self._options(pool, dispatch)
            journey = plan_journey(dispatch)
        except KeyError as e:
            return _not_run("not_known_here", f"this runner knows no {e.args[0]!r}, which the session needs")
        except msgspec.ValidationError as e:
            # What is filled in is too long for where it is to stand; the words do not repeat it.
            said = f"what is filled into a step does not fit there: {e}"
            return Outcome(status="failed", error=ErrorInfo(kind="step_failed", detail=said))
        try:
            policy = session_policy(dispatch, self._version, self.contact)
        except ValueError as e:
            return _not_run("not_known_here", f"this runner cannot read where the session may go: {e}")
        began = self._clock()
        async with self._gate.session(policy, proxies) as lease:
            session = Session(dispatch, plan, options, say, lease, recording, mask, journey)
            evidence = await self._visited(session, running, float(dispatch.limits.session))
            duration = self._clock() - began - recording.spent
            await lease.settle()
            seen = lease.report()
            info = classify(session.with_egress(evidence))
        if seen.delayed:
            # Part of the times that were measured, and not the site's.
            say("line", f"the rate ceiling held {seen.delayed} request(s) back, {seen.delay:.2f} s in all")
        return Outcome(
            status="ok" if info is None else "failed",
            duration_ms=round(duration * 1000, 1),
            error=info,
            measures=session.measures,
            pages=session.pages,
            steps=session.steps,
            shots=session.shots.taken,
            artifacts=await recording.collect(failed=info is not None, shots=session.shots.taken),
            upstreams=seen.upstreams,
            refused=seen.refused_by_origin,
            third_parties=seen.third_parties,
        )

    async def _visited(self, session: Session, running: RunningBrowser, limit: float) -> Evidence:
        """Run the session to its end, and leave it; what was seen."""
        visit = asyncio.create_task(session.visit(running.browser))
        strayed = asyncio.create_task(session.watch.strayed.wait())
        try:
            await asyncio.wait({visit, strayed}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            late = not visit.done() and not strayed.done()
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
            if not gone:
                failed = classify(evidence) is not None
                await session.recording.capture(session.context, session.page, failed=failed)
        finally:
            strayed.cancel()
            await _leave(session, visit, running)
        if evidence.runner_fault and not gone:
            log.error("unexpected error in a session", exc_info=error)
        return evidence

    async def _options(self, pool: BrowserPool, dispatch: Dispatch) -> dict[str, Any]:
        """Arguments of the session's context. `KeyError` names a device that Playwright does not have."""
        agent, options = pool.user_agent, {}
        if (device := dispatch.device) is not None:
            devices = (await self._driver.playwright()).devices
            options = context_options(device, devices, pool.found.browser)
            if "user_agent" in options:
                agent = marked(user_agent(options["user_agent"], agent), self._version)
        return {**options, "user_agent": of_session(agent, dispatch, self.contact)}

    async def _try(self, found: FoundBrowser) -> None:
        """Start a browser, see that it works and what it calls itself; start it again as sessions need it."""
        platform = f"{this_system()}-{found.browser}"
        trial = BrowserPool(found, self._driver, self._wall)
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
        pool = BrowserPool(found, self._driver, self._wall, retire_after=self._retire_after)
        pool.user_agent = marked(own, self._version)
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
    recording = session.recording
    limit = KILLED_LIMIT if session.is_cut else CLOSE_LIMIT + recording.closing
    await end({visit, closing, *recording.pending}, [running.kill, running.kill_driver], limit)


def _not_run(kind: str, detail: str) -> Outcome:
    return Outcome(status="failed", error=ErrorInfo(kind=kind, detail=detail, infrastructure=True))
