"""Where sessions go: through the gate of their executor, to the job's origins, and nowhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from broker_config.egress import Egress
from broker_config.journey import Journey, Locator, Step
from broker_config.messages import Dispatch
from runner.browser.browser_pool import BrowserPool
from runner.browser.executor import BrowserExecutor
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.gate.event import EgressEvent
from tests.support.certificate import make_certificate, server_tls
from tests.support.proxies import UpstreamProxy, upstream
from tests.support.sessions import a_session, silent
from tests.support.site import Site, open_site


class TrustingExecutor(BrowserExecutor):
    """Opens pages whose certificate nobody vouches for."""

    async def _options(self, pool: BrowserPool, dispatch: Dispatch) -> dict[str, Any]:
        return {**await super()._options(pool, dispatch), "ignore_https_errors": True}


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = TrustingExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


@pytest.fixture
def events(executor: BrowserExecutor) -> Iterator[list[EgressEvent]]:
    heard: list[EgressEvent] = []
    before, executor.on_egress = executor.on_egress, heard.append
    yield heard
    executor.on_egress = before


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Site]:
    """A site that is none of the job's."""
    async with open_site() as other:
        yield other


@pytest_asyncio.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Site]:
    """Another one, with TLS."""
    async with open_site(server_tls(make_certificate(tmp_path))) as secure:
        yield secure


def through(*proxies: UpstreamProxy) -> EgressPool:
    return EgressPool([p.proxy for p in proxies])


def by_proxies(url: str, **more: Any) -> Dispatch:
    """A session that must not go direct."""
    return a_session(url, egress=Egress(pool="p"), **more)


def refusal(outcome: Outcome) -> str:
    """The words of an `origin_refused`."""
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("origin_refused", False)
    return outcome.error.detail


def lost(outcome: Outcome) -> str:
    """The words of an `egress_failed`, which is tried again."""
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("egress_failed", True)
    return outcome.error.detail


async def test_what_a_page_loads_from_elsewhere_is_refused_and_counted(
    executor: BrowserExecutor, site: Site, other: Site
) -> None:
    site.pages["/shop"] = (
        f"<img src={other.url}/pixel.png><iframe src={other.url}/shift></iframe>"
        f"<script>fetch('{other.url}/x',{{mode:'no-cors'}})</script>"
        f"<script>new WebSocket('{other.url}/'.replace('http','ws'))</script>"
    )
    outcome = await executor.run(a_session(f"{site.url}/shop", dwell=0.3), silent)
    assert (outcome.status, outcome.measures.http_status) == ("ok", 200)
    assert not other.hits
    tunnel = other.url.replace("http", "https")  # of the WebSocket
    assert outcome.refused == {other.url: 3, tunnel: 1}
    assert (outcome.third_parties, outcome.upstreams) == ({}, ["direct"])


@pytest.mark.parametrize("third_party", ["listed", "all"])
async def test_third_parties_of_the_list_are_let_through_and_counted(
    executor: BrowserExecutor, site: Site, other: Site, secure: Site, third_party: str
) -> None:
    site.pages["/shop"] = (
        f"<img src={other.url}/pixel.png><iframe src={other.url}/shift></iframe>"
        f"<img src={secure.url}/pixel.png><iframe src={secure.url}/shift></iframe>"
    )
    patterns = [other.url, secure.url] if third_party == "listed" else third_party
    outcome = await executor.run(a_session(f"{site.url}/shop", third_party=patterns), silent)
    assert outcome.status == "ok", "frames of third parties are no pages of the session"
    if third_party == "listed":
        assert other.hits == secure.hits == {"/pixel.png": 1, "/shift": 1}
        assert outcome.refused == {}
        assert outcome.third_parties[other.url] == 2
        assert outcome.third_parties[secure.url] >= 1
    else:  # all that are public
        assert not other.hits
        assert not secure.hits
        assert set(outcome.refused) == {other.url, secure.url}


@pytest.mark.parametrize("third_party", ["block", "listed"])
@pytest.mark.parametrize("leads", ["redirect", "script", "form", "window"])
async def test_pages_of_other_origins_are_never_opened(
    executor: BrowserExecutor, site: Site, other: Site, leads: str, third_party: str
) -> None:
    away = f"{other.url}/shift"
    site.redirects["/redirect-away"] = away
    site.pages |= {
        "/script-away": f"<script>location='{away}'</script>",
        "/form-away": f"<form id=f method=post action={away}></form><script>f.submit()</script>",
        "/window-away": f"<script>open('{away}')</script>",
    }
    patterns = [other.url] if third_party == "listed" else "block"
    dispatch = a_session(f"{site.url}/{leads}-away", dwell=8, third_party=patterns)
    outcome = await executor.run(dispatch, silent)
    assert other.url in refusal(outcome)
    assert outcome.duration_ms < 6000, "it is ended at once"
    assert not other.hits
    # Where third parties are let in, the session sees the page coming, perhaps before the gate is asked.
    assert outcome.refused == {other.url: 1} or (third_party == "listed" and not outcome.refused)


@pytest.mark.parametrize("third_party", ["block", "listed"])
@pytest.mark.parametrize("leads", ["redirect", "script", "window"])
async def test_pages_of_other_origins_inside_tls_end_the_session(
    executor: BrowserExecutor, site: Site, secure: Site, leads: str, third_party: str
) -> None:
    """The gate cannot tell them from pictures: the session itself watches its pages."""
    away = f"{secure.url}/shift"
    site.redirects["/redirect-away"] = away
    site.pages |= {
        "/script-away": f"<script>location='{away}'</script>",
        "/window-away": f"<script>open('{away}')</script>",
    }
    patterns = [secure.url] if third_party == "listed" else "block"
    dispatch = a_session(f"{site.url}/{leads}-away", dwell=8, third_party=patterns)
    outcome = await executor.run(dispatch, silent)
    assert secure.url in refusal(outcome)
    assert outcome.duration_ms < 6000
    assert bool(outcome.refused) is (third_party == "block")


async def test_a_step_that_leads_away_is_no_failure_of_the_site(
    executor: BrowserExecutor, site: Site, other: Site
) -> None:
    site.pages["/shop"] = f"<a id=x href={other.url}/shift>away</a>"
    journey = Journey(steps=[Step(click=Locator(css="#x"))])
    outcome = await executor.run(a_session(f"{site.url}/shop", journey=journey), silent)
    assert other.url in refusal(outcome)
    assert not other.hits


async def test_another_origin_of_the_job_may_be_opened(
    executor: BrowserExecutor, site: Site, other: Site
) -> None:
    site.redirects["/away"] = f"{other.url}/shift"
    outcome = await executor.run(a_session(f"{site.url}/away", origins=[other.url]), silent)
    assert (outcome.status, other.hits) == ("ok", {"/shift": 1})
    assert outcome.refused == outcome.third_parties == {}


async def test_one_proxy_that_works_is_enough(
    executor: BrowserExecutor, site: Site, events: list[EgressEvent]
) -> None:
    async with upstream() as dead, upstream(user="u", password="p") as refusing, upstream("socks5") as good:
        await dead.kill()
        refusing.mood = "credentials"
        pool = through(dead, refusing, good)
        dispatches = [by_proxies(f"{site.url}/") for _ in range(3)]
        outcomes = await asyncio.gather(*(executor.run(d, silent, pool) for d in dispatches))
        assert [(o.status, o.upstreams) for o in outcomes] == [("ok", [str(good.proxy)])] * 3
        assert set(good.asked) == {site.url.removeprefix("http://")}
        # Whatever reached the site came from a proxy.
        assert len(good.asked) <= sum(site.hits.values()) == 15
    assert {(e.kind, e.proxy) for e in events} == {
        ("proxy_down", str(dead.proxy)),
        ("proxy_down", str(refusing.proxy)),
    }
    assert {e.session for e in events} <= {d.session for d in dispatches}
    assert all((e.job, e.attempt) == ("job-1", 1) for e in events)


async def test_it_identifies_itself_below_the_browser(executor: BrowserExecutor, site: Site) -> None:
    async with upstream() as proxy:
        dispatch = by_proxies(f"{site.url}/", attempt=2)
        await executor.run(dispatch, silent, through(proxy))
        assert len(proxy.heads) == 5
        line = f"X-TrafficBuster: job=job-1; session={dispatch.session}; attempt=2\r\n".encode()
        assert all(head.count(line) == 1 for head in proxy.heads)


@pytest.mark.parametrize("left", ["dead", "refusing", "disabled", "none"])
async def test_nothing_goes_direct_where_no_proxy_is_left(
    executor: BrowserExecutor, site: Site, events: list[EgressEvent], left: str
) -> None:
    async with upstream(user="u", password="p") as proxy:
        pool: EgressPool | None = through(proxy)
        if left == "dead":
            await proxy.kill()
        elif left == "refusing":
            proxy.mood = "credentials"
        elif left == "disabled":
            pool = EgressPool([msgspec.structs.replace(proxy.proxy, enabled=False)])
        else:
            pool = None
        outcome = await executor.run(by_proxies(f"{site.url}/"), silent, pool)
        assert lost(outcome)
        assert outcome.measures.http_status is None
        assert not site.hits
        assert outcome.upstreams == []
    assert ("no_proxy_left" in {e.kind for e in events}) is (left != "none")


async def test_a_proxy_that_dies_under_a_page_is_no_fault_of_the_site(
    executor: BrowserExecutor, site: Site
) -> None:
    async with upstream() as proxy:
        task = asyncio.create_task(executor.run(by_proxies(f"{site.url}/held"), silent, through(proxy)))
        await site.asked("/held")
        await proxy.kill()
        assert lost(await task)


async def test_a_part_of_the_page_that_the_way_out_has_lost_makes_no_result(
    executor: BrowserExecutor, site: Site
) -> None:
    site.pages["/shop"] = "<script>fetch('/held')</script>"
    async with upstream() as proxy:
        dispatch = by_proxies(f"{site.url}/shop", dwell=0.5)
        task = asyncio.create_task(executor.run(dispatch, silent, through(proxy)))
        await site.asked("/held")
        await proxy.kill()
        assert "own origins" in lost(await task)


async def test_a_site_that_is_not_there_is_a_result_behind_a_proxy_too(
    executor: BrowserExecutor, other: Site, site: Site
) -> None:
    async with upstream() as proxy:
        outcome = await executor.run(by_proxies(f"{site.url}/broken"), silent, through(proxy))
        assert outcome.error is not None
        assert (outcome.error.kind, outcome.error.infrastructure) == ("http_status", False)


async def test_the_rate_ceiling_holds_and_is_told(executor: BrowserExecutor, site: Site) -> None:
    said: list[str] = []
    outcome = await executor.run(a_session(f"{site.url}/", rate=3.0), lambda _, text: said.append(text))
    assert outcome.status == "ok"
    assert sum(site.hits.values()) == 5
    (line,) = [text for text in said if "rate ceiling" in text]
    assert re.search(r"held [12] request\(s\) back", line)


async def test_a_cancelled_session_leaves_nothing_of_its_way_out(
    executor: BrowserExecutor, site: Site
) -> None:
    (wall,) = executor._gate._leases
    task = asyncio.create_task(executor.run(a_session(f"{site.url}/never"), silent))
    await site.asked("/never")
    (lease,) = executor._gate._leases - {wall}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert executor._gate._leases == {wall}
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", int(lease.proxy_url.rpartition(":")[2]))


async def test_what_belongs_to_no_session_goes_nowhere(executor: BrowserExecutor, site: Site) -> None:
    """A context that nobody gave a way."""
    (pool,) = executor._pools.values()
    async with pool.lease() as running:
        context = await running.browser.new_context()
        page = await context.new_page()
        response = await page.goto(f"{site.url}/")
        assert response is not None
        assert response.status == 403
        await context.close()
    assert not site.hits


async def test_firefox(site: Site, other: Site, secure: Site) -> None:
    site.redirects["/redirect-away"] = f"{other.url}/shift"
    site.pages |= {
        "/window-away": f"<script>open('{secure.url}/shift')</script>",
        "/script-away": f"<script>location='{secure.url}/shift'</script>",
        "/shop": f"<img src={other.url}/pixel.png><script>fetch('{other.url}/x').catch(e=>1)</script>",
    }
    executor = TrustingExecutor(["firefox"])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(executor.close)
        await executor.start()
        dead = await stack.enter_async_context(upstream())
        good = await stack.enter_async_context(upstream("socks5"))
        await dead.kill()

        def session(path: str, **more: Any) -> Dispatch:
            return a_session(site.url + path, browser="firefox", **more)

        async def run(dispatch: Dispatch, pool: EgressPool | None = None) -> Outcome:
            return await executor.run(dispatch, silent, pool)

        async with asyncio.TaskGroup() as group:
            refused = group.create_task(run(session("/shop", dwell=0.3)))
            redirected = group.create_task(run(session("/redirect-away", dwell=8)))
            moved = group.create_task(run(session("/script-away", dwell=8, third_party=[secure.url])))
            opened = group.create_task(run(session("/window-away", dwell=8, third_party=[secure.url])))
        async with asyncio.TaskGroup() as group:
            proxied = group.create_task(run(session("/shift", egress=Egress(pool="p")), through(dead, good)))
            nothing = group.create_task(run(session("/style.css", egress=Egress(pool="p")), through(dead)))
    assert (refused.result().status, refused.result().refused) == ("ok", {other.url: 2})
    assert other.url in refusal(redirected.result())
    assert secure.url in refusal(moved.result())
    assert secure.url in refusal(opened.result())
    assert not other.hits
    assert (proxied.result().status, proxied.result().upstreams) == ("ok", [str(good.proxy)])
    assert lost(nothing.result())
    assert not site.hits["/style.css"]
