"""Sessions in real browsers on a site that counts what it is asked for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker_config.platform import this_system
from runner.browser.executor import BrowserExecutor
from tests.support.sessions import a_session, browsers_of, driver_of, family, running, silent
from tests.support.site import Site, open_site
from tests.support.waiting import eventually


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    processes = family(driver_of(executor))
    await executor.close()
    await eventually(lambda: not running(processes), what="browser and driver have ended")


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


async def test_the_headless_shell_is_offered_as_chromium(executor: BrowserExecutor) -> None:
    assert [p.platform for p in executor.platforms] == [f"{this_system()}-chromium"]
    assert executor.platforms[0].browser_version.split(".")[0].isdigit()


async def test_a_page_is_opened_read_to_its_end_and_measured(executor: BrowserExecutor, site: Site) -> None:
    said: list[tuple[str, str]] = []
    outcome = await executor.run(a_session(f"{site.url}/"), lambda *what: said.append(what))
    assert (outcome.status, outcome.error) == ("ok", None)
    # The page fetches /bottom when it has been scrolled to its end.
    assert site.hits == {"/": 1, "/style.css": 1, "/pixel.png": 1, "/code.js": 1, "/bottom": 1}
    m = outcome.measures
    assert m.http_status == 200
    assert (m.requests, m.failed_requests, m.console_errors) == (5, 0, 0)
    assert m.bytes is not None
    assert 20_000 < m.bytes < 30_000
    assert m.ttfb is not None
    assert m.dcl is not None
    assert m.load is not None
    assert 0 < m.ttfb < m.dcl <= m.load < outcome.duration_ms
    assert m.fcp is not None
    assert m.lcp is not None
    assert m.ttfb < m.fcp <= m.lcp < outcome.duration_ms
    assert m.cls == 0
    assert m.inp is None
    assert [event for event, _ in said] == ["step", "step"]
    assert all(not running.browser.contexts for pool in executor._pools.values() for running in pool.running)


async def test_each_request_says_which_attempt_it_belongs_to(executor: BrowserExecutor, site: Site) -> None:
    dispatch = a_session(f"{site.url}/", attempt=3)
    await executor.run(dispatch, silent)
    mark = f"TrafficBuster/0.1 (job=job-1; session={dispatch.session}; attempt=3)"
    assert len(site.requests) == 5
    assert all(agent.startswith("Mozilla/5.0 ") and agent.endswith(mark) for _, agent in site.requests)


async def test_without_scrolling_the_end_is_not_seen(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/", scroll=False), silent)
    assert outcome.status == "ok"
    assert site.hits["/bottom"] == 0
    assert outcome.measures.requests == 4


async def test_dwell_is_spent_on_the_page(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/shift", dwell=0.7, scroll=False), silent)
    assert outcome.status == "ok"
    assert 700 < outcome.duration_ms < 5000
    assert outcome.measures.cls is not None
    assert 0 < outcome.measures.cls < 0.5


async def test_errors_of_a_page_are_counted(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/errors"), silent)
    assert outcome.status == "ok"
    m = outcome.measures
    # One logged, one thrown; the picture that is not there is a failed request.
    assert (m.console_errors, m.failed_requests, m.requests) == (2, 1, 2)


async def test_time_to_first_byte_is_the_sites(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/slow"), silent)
    assert outcome.measures.ttfb is not None
    assert 290 < outcome.measures.ttfb < 1500


@pytest.mark.parametrize(("path", "requests"), [("/redirect", 6), ("/moves-on", 6), ("/moves-late", 6)])
async def test_a_page_that_sends_on_is_followed(
    executor: BrowserExecutor, site: Site, path: str, requests: int
) -> None:
    outcome = await executor.run(a_session(site.url + path), silent)
    assert (outcome.status, outcome.measures.http_status) == ("ok", 200)
    assert site.hits["/bottom"] == 1
    assert outcome.measures.requests == sum(site.hits.values()) == requests


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/broken", "http_status", 500),
        ("/nothing", "http_status", 404),
        ("/cut", "connection_failed", None),
        ("/never", "navigation_timeout", None),
        ("/hang-at-once", "navigation_timeout", 200),
    ],
)
async def test_what_the_site_does_is_a_failure_of_the_site(
    executor: BrowserExecutor, site: Site, path: str, kind: str, status: int | None
) -> None:
    outcome = await executor.run(a_session(site.url + path, navigation_limit=0.7), silent)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == (kind, False)
    assert outcome.measures.http_status == status


async def test_a_refused_connection_an_unknown_name_and_no_tls(executor: BrowserExecutor) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"this is not TLS\r\n")
        writer.close()

    with socket.socket() as reserved:  # bound, but nobody listens
        reserved.bind(("127.0.0.1", 0))
        plain = await asyncio.start_server(garbage, "127.0.0.1", 0)
        async with plain:
            urls = {
                f"http://127.0.0.1:{reserved.getsockname()[1]}/": "connection_failed",
                "http://nowhere.invalid/": "name_not_resolved",
                f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/": "tls_failed",
            }
            outcomes = {url: await executor.run(a_session(url), silent) for url in urls}
    kinds = {url: o.error.kind if o.error else o.status for url, o in outcomes.items()}
    assert kinds == urls
    assert not any(o.error and o.error.infrastructure for o in outcomes.values())


async def test_four_sessions_at_once_share_a_browser(executor: BrowserExecutor, site: Site) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(executor.run(a_session(f"{site.url}/held"), silent)) for _ in range(4)]
        await site.asked("/held", 4)
        assert len(browsers_of(executor)) == 1
        site.release.set()
    assert [t.result().status for t in tasks] == ["ok"] * 4


async def test_a_platform_that_is_not_offered(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(a_session(f"{site.url}/", browser="webkit"), silent)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("platform_not_offered", True)
    assert not site.hits


async def test_old_browsers_are_replaced_while_their_sessions_finish(site: Site) -> None:
    executor = BrowserExecutor(["chromium"], retire_after=2)
    try:
        await executor.start()  # counts as one
        (first,) = browsers_of(executor)
        held = asyncio.create_task(executor.run(a_session(f"{site.url}/held"), silent))
        await site.asked("/held")
        assert (await executor.run(a_session(f"{site.url}/shift"), silent)).status == "ok"
        assert len(browsers_of(executor)) == 2
        assert running([first])
        site.release.set()
        assert (await held).status == "ok"
        await eventually(lambda: not running([first]), what="the old browser has ended")
        assert len(browsers_of(executor)) == 1
    finally:
        await executor.close()


async def test_firefox(site: Site) -> None:
    executor = BrowserExecutor(["firefox"])
    try:
        await executor.start()
        dispatch = a_session(f"{site.url}/", browser="firefox")
        outcome = await executor.run(dispatch, silent)
        m = outcome.measures
        assert (outcome.status, m.http_status) == ("ok", 200)
        assert site.hits["/bottom"] == 1
        assert m.requests is not None
        assert m.requests >= 5
        assert m.ttfb is not None
        assert m.fcp is not None
        assert m.load is not None
        assert m.lcp is not None
        assert 0 < m.ttfb < m.load < outcome.duration_ms
        assert f"session={dispatch.session};" in site.requests[0][1]
        # Firefox outlives its driver; the executor must not let it.
        processes = family(driver_of(executor))
        held = asyncio.create_task(executor.run(a_session(f"{site.url}/held", browser="firefox"), silent))
        await site.asked("/held")
        driver_of(executor).kill()
        error = (await held).error
        assert error is not None
        assert (error.kind, error.infrastructure) == ("browser_crashed", True)
        await eventually(lambda: not running(processes), what="Firefox has ended")
    finally:
        await executor.close()
