"""A killed job in a real browser: its page goes on trying, and nothing of it reaches the site any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from broker_config.behaviour import Behaviour
from broker_config.duration_range import DurationRange
from runner.browser.executor import KILLED_LIMIT, BrowserExecutor
from runner.core.outcome import Outcome
from tests.support.counting_site import counting_site
from tests.support.kill_scene import KINDS
from tests.support.sessions import a_session
from tests.support.waiting import eventually


@asynccontextmanager
async def browser() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    try:
        yield executor
    finally:
        await executor.close()


async def test_a_cut_job_is_silent_while_its_page_lives_and_ends_at_once_when_it_is_cancelled() -> None:
    reads = Behaviour(dwell=DurationRange.parse("30s"), scroll=False)
    async with browser() as executor, counting_site() as site:

        def busy(job: str, sessions: int) -> bool:
            return all(site.seen[job][kind] >= sessions for kind in KINDS)

        def started(job: str) -> asyncio.Task[Outcome]:
            session = a_session(site.url(job).replace("/fast", "/page"), behaviour=reads)
            return asyncio.create_task(
                executor.run(msgspec.structs.replace(session, job=job), lambda *_: None)
            )

        tasks = [started("a"), started("a"), started("b")]
        await eventually(lambda: busy("a", 2) and busy("b", 1), 20, what="traffic of every kind")
        cut = time.monotonic()
        executor.cut("a")
        # Not cancelled yet: the page, its sockets and its fetches would go on.
        await eventually(lambda: time.monotonic() - cut > 1.5, 5)
        assert site.last["a"] - cut < 0.3
        assert site.open["a"] == 0
        assert time.monotonic() - site.last["b"] < 0.5
        ending = time.monotonic()
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait(tasks[:2])
        assert time.monotonic() - ending < KILLED_LIMIT + 1
        assert all(task.cancelled() for task in tasks[:2])
        # Another session of the killed job gets no way out.
        late = started("a")
        await asyncio.wait({late}, timeout=1.0)
        assert site.last["a"] - cut < 0.3
        since = site.last["b"]
        await eventually(lambda: site.last["b"] > since, 5, what="the other job goes on in the same browser")
        for task in (late, tasks[2]):
            task.cancel()
        await asyncio.wait({late, tasks[2]})
