"""Whatever happens to a browser, the slot is usable again and no process is left."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from runner.browser.executor import BrowserExecutor
from runner.browser.processes import MARK, sweep_orphans
from tests.support.sessions import a_session, browsers_of, driver_of, family, running, silent
from tests.support.site import Site, open_site
from tests.support.waiting import eventually


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


async def still_works(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/shift"), silent)
    assert (outcome.status, outcome.error) == ("ok", None)


async def test_a_hung_page_is_ended_by_the_session_limit(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/hang", session_limit=1.0), silent)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("session_timeout", False)
    assert 1000 <= outcome.duration_ms < 4000
    assert outcome.measures.http_status == 200
    await still_works(executor, site)


async def test_a_cancelled_session_closes_its_context_and_lets_the_cancellation_through(
    executor: BrowserExecutor, site: Site
) -> None:
    for path, asked in (("/never", "/never"), ("/", "/bottom"), ("/hang", "/hang")):
        task = asyncio.create_task(executor.run(a_session(site.url + path, dwell=15), silent))
        await site.asked(asked)
        task.cancel()
        async with asyncio.timeout(4):
            with pytest.raises(asyncio.CancelledError):
                await task
    contexts = [r.browser.contexts for pool in executor._pools.values() for r in pool.running]
    assert contexts == [[]]
    await still_works(executor, site)


async def test_a_killed_browser_fails_its_sessions_and_is_replaced(
    executor: BrowserExecutor, site: Site
) -> None:
    (browser,) = browsers_of(executor)
    processes = family(browser)
    held = [asyncio.create_task(executor.run(a_session(f"{site.url}/held"), silent)) for _ in range(2)]
    await site.asked("/held", 2)
    browser.kill()
    for outcome in await asyncio.gather(*held):
        assert outcome.error is not None
        assert (outcome.error.kind, outcome.error.infrastructure) == ("browser_crashed", True)
    await still_works(executor, site)
    await eventually(lambda: not running(processes), what="nothing of the old browser is left")


async def test_a_crashed_page_is_the_sites_doing(executor: BrowserExecutor, site: Site) -> None:
    (browser,) = browsers_of(executor)
    task = asyncio.create_task(executor.run(a_session(f"{site.url}/", dwell=1.0), silent))
    await site.asked("/bottom")
    for process in browser.children(recursive=True):
        if "--type=renderer" in process.cmdline():
            process.kill()
    outcome = await task
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("page_crashed", False)
    assert running([browser])
    await still_works(executor, site)


async def test_a_killed_driver_is_started_again(executor: BrowserExecutor, site: Site) -> None:
    processes = family(driver_of(executor))
    held = asyncio.create_task(executor.run(a_session(f"{site.url}/held"), silent))
    await site.asked("/held")
    driver_of(executor).kill()
    outcome = await held
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("browser_crashed", True)
    await still_works(executor, site)
    # And where nobody was there to notice:
    second = driver_of(executor)
    second.kill()
    await eventually(lambda: not running([second]), what="the driver has ended")
    await still_works(executor, site)
    await eventually(lambda: not running(processes), what="nothing of the old driver is left")


async def test_ctrl_c_in_the_terminal_does_not_end_the_driver(executor: BrowserExecutor, site: Site) -> None:
    driver = driver_of(executor)
    held = asyncio.create_task(executor.run(a_session(f"{site.url}/held"), silent))
    await site.asked("/held")
    driver.send_signal(signal.SIGINT)
    driver.send_signal(signal.SIGTERM)
    site.release.set()
    assert (await held).status == "ok"
    assert driver_of(executor).pid == driver.pid


async def test_a_frozen_browser_is_killed_from_outside(
    executor: BrowserExecutor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.browser.executor.CLOSE_LIMIT", 0.3)
    (browser,) = browsers_of(executor)
    processes = family(browser)
    task = asyncio.create_task(executor.run(a_session(f"{site.url}/held", session_limit=1.0), silent))
    await site.asked("/held")
    browser.suspend()
    async with asyncio.timeout(5):
        outcome = await task
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("session_timeout", False)
    await still_works(executor, site)
    await eventually(lambda: not running(processes), what="nothing of the frozen browser is left")


async def test_a_frozen_driver_is_killed_too(
    executor: BrowserExecutor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.browser.executor.CLOSE_LIMIT", 0.3)
    monkeypatch.setattr("runner.browser.bounded.GRACE", 0.3)
    processes = family(driver_of(executor))
    task = asyncio.create_task(executor.run(a_session(f"{site.url}/held"), silent))
    await site.asked("/held")
    driver_of(executor).suspend()
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    await still_works(executor, site)
    await eventually(lambda: not running(processes), what="nothing of the frozen driver is left")


RUNNER = """
import asyncio, sys
from runner.browser.executor import BrowserExecutor
from tests.support.sessions import a_session, silent
async def main():
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    await executor.run(a_session(sys.argv[1]), silent)
asyncio.run(main())
"""


async def test_a_runner_killed_hard_leaves_no_browser(site: Site) -> None:
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNNER, f"{site.url}/never")
    await site.asked("/never")
    processes = family(psutil.Process(runner.pid))
    assert len(processes) > 3
    runner.kill()
    await runner.wait()
    await eventually(lambda: not running(processes), what="driver and browser have ended")


async def test_orphans_are_swept_and_others_browsers_are_not(executor: BrowserExecutor, site: Site) -> None:
    await still_works(executor, site)
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNNER, f"{site.url}/never")
    await site.asked("/never")
    processes = family(psutil.Process(runner.pid))
    (browser,) = [p for p in processes if any(a.startswith(MARK) for a in p.cmdline())]
    (driver,) = [p for p in processes if "run-driver" in p.cmdline()]
    # A browser that hangs while its runner and its driver die: nobody is left to end it.
    browser.suspend()
    runner.kill()
    driver.kill()
    await runner.wait()
    await eventually(lambda: not running([driver]), what="the driver has ended")
    assert running([browser])
    (own,) = browsers_of(executor)
    assert sweep_orphans() == 1
    await eventually(lambda: not running(processes), what="the orphan has ended")
    assert running([own])
    await still_works(executor, site)
