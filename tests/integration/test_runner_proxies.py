"""A runner's way out by pools: real proxies and a real site on loopback, the real gate, no browser."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker_config import codec
from broker_config.egress import Egress
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import Dispatch
from broker_config.proxy_pool import ProxyPool, ProxyTrial
from broker_config.seal import Seal
from orchestrator.bus.fleet import Fleet
from orchestrator.bus.jet import Jet
from orchestrator.bus.job_store import JobStore
from orchestrator.bus.proxy_trials import ProxyTrials
from orchestrator.bus.quarantine import Quarantine
from orchestrator.bus.secret_desk import SecretDesk
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.front_desk import FrontDesk, front_desk
from tests.support.gate_executor import GateExecutor
from tests.support.proxies import UpstreamProxy, upstream
from tests.support.site import Site, open_site
from tests.support.waiting import eventually

PASSWORD = "canary-5f2e"


@pytest.fixture
async def desk(own_broker: EmbeddedServer) -> AsyncIterator[FrontDesk]:
    async with front_desk(own_broker.url, lease=2.0) as desk:
        yield desk


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest.fixture
async def proxies() -> AsyncIterator[list[UpstreamProxy]]:
    async with (
        upstream("http", user="u", password=PASSWORD) as a,
        upstream("socks5", user="u", password=PASSWORD) as b,
        upstream("http") as c,
    ):
        yield [a, b, c]


@asynccontextmanager
async def running(
    desk: FrontDesk, tmp_path: Path, executor: GateExecutor | None = None, **config: Any
) -> AsyncIterator[Runner]:
    settings = {"name": "r1", "slots": 2, "saturation_busy": 2.0, "grace_s": 2.0, **config}
    url = desk.nc.connected_url
    assert url is not None
    config_ = RunnerConfig(data_dir=tmp_path / "data", nats=url.geturl(), **settings)
    runner = Runner(config_, executor or GateExecutor())
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


async def keep(desk: FrontDesk, key: str, proxies: list[UpstreamProxy], *, off: int = 0) -> None:
    """A pool whose first `off` proxies are disabled."""
    pool = ProxyPool(
        proxies=[msgspec.structs.replace(p.proxy, enabled=i >= off) for i, p in enumerate(proxies)]
    )
    desk.keep(key, pool)


async def send(desk: FrontDesk, site: Site, sessions: int, egress: Egress, **more: Any) -> None:
    for n in range(more.pop("first", 1), sessions + 1):
        d = Dispatch(
            job="job1", session=n, platform="linux-chromium", target="t", url=f"{site.url}/", egress=egress,
            retries=0, **more,
        )  # fmt: skip
        await desk.dispatch_raw(codec.encode(d))


async def test_sessions_of_a_job_share_its_proxies_in_turn(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    await keep(desk, "pool.p", proxies)
    await keep(desk, "job.job1", proxies[:2])
    async with running(desk, tmp_path):
        await send(desk, site, 6, Egress(pool="p"))
        records = await desk.all_done(6)
        assert {r.status for r in records} == {"ok"}
        assert Counter(u for r in records for u in r.upstreams) == {str(p.proxy): 2 for p in proxies}
        assert site.hits["/"] == sum(len(p.asked) for p in proxies) == 6


async def test_the_proxies_of_a_job_itself(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    await keep(desk, "job.job1", proxies[:2])
    async with running(desk, tmp_path):
        await send(desk, site, 4, Egress(proxies=[str(p.proxy) for p in proxies[:2]]))
        records = await desk.all_done(4)
    assert Counter(u for r in records for u in r.upstreams) == {str(p.proxy): 2 for p in proxies[:2]}


async def test_a_disabled_proxy_is_left_at_once(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    """By the sessions that run, too: a session of three requests is between the first and the second."""
    executor = GateExecutor(requests=2)
    executor.go.clear()
    await keep(desk, "pool.p", proxies)
    async with running(desk, tmp_path, executor, slots=3) as runner:
        await send(desk, site, 3, Egress(pool="p"))
        await eventually(lambda: site.hits["/"] == 3, what="a request by each proxy")
        await keep(desk, "pool.p", proxies, off=2)
        await runner.pools.look()
        executor.go.set()
        records = await desk.all_done(3)
    assert {r.status for r in records} == {"ok"}
    assert [len(p.asked) for p in proxies] == [1, 1, 4]
    assert executor.pools[0] is executor.pools[1] is executor.pools[2]


async def test_a_pool_that_is_removed_is_used_no_more(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    executor = GateExecutor(requests=2)
    executor.go.clear()
    await keep(desk, "pool.p", proxies)
    async with running(desk, tmp_path, executor) as runner:
        await send(desk, site, 1, Egress(pool="p"))
        await eventually(lambda: site.hits["/"] == 1, what="the first request")
        desk.keep("pool.p", None)
        for _ in range(2):
            await runner.pools.look()
        executor.go.set()
        (record,) = await desk.all_done(1)
        await send(desk, site, 2, Egress(pool="p"), first=2)
        records = await desk.all_done(2)
    assert site.hits["/"] == 1, "nothing went direct"
    assert record.error is not None
    assert (record.error.kind, record.error.infrastructure) == ("egress_failed", True)
    assert "no proxy" in record.error.detail
    last = records[-1].error
    assert last is not None
    assert (last.kind, last.infrastructure) == ("egress_failed", True)
    assert "the pool p of proxies" in last.detail


@pytest.mark.parametrize("egress", [Egress(pool="none"), Egress(proxies=["http://127.0.0.1:1"])])
async def test_without_its_proxies_a_session_fails_and_never_goes_direct(
    desk: FrontDesk, site: Site, tmp_path: Path, egress: Egress
) -> None:
    async with running(desk, tmp_path):
        await send(desk, site, 1, egress)
        (record,) = await desk.all_done(1)
    assert record.error is not None
    assert (record.error.kind, record.error.infrastructure) == ("egress_failed", True)
    assert "not there" in record.error.detail
    assert site.hits["/"] == 0


async def test_where_nobody_answers_the_wait_is_bounded(desk: FrontDesk, site: Site, tmp_path: Path) -> None:
    """By half a lease for all of them together, not for one after the other."""
    desk.silent = True
    async with running(desk, tmp_path, slots=4):
        began = time.monotonic()
        await send(desk, site, 4, Egress(pool="p"))
        records = await desk.all_done(4)
    assert time.monotonic() - began < 1.9
    assert {r.error.kind for r in records if r.error} == {"egress_failed"}
    assert all(r.error and "cannot be read" in r.error.detail for r in records)
    assert site.hits["/"] == 0


async def test_an_outage_that_passes_is_waited_for(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    async with running(desk, tmp_path):
        await send(desk, site, 1, Egress(pool="p"))
        await eventually(lambda: any(log.event == "started" for log in desk.logs), what="started")
        await keep(desk, "pool.p", proxies)
        (record,) = await desk.all_done(1)
    assert record.status == "ok"


async def test_a_pool_without_an_enabled_proxy(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    await keep(desk, "pool.p", proxies, off=3)
    async with running(desk, tmp_path):
        await send(desk, site, 1, Egress(pool="p"))
        (record,) = await desk.all_done(1)
    assert record.error is not None
    assert "has no enabled proxy" in record.error.detail


async def test_unused_pools_are_forgotten(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    executor = GateExecutor()
    await keep(desk, "pool.p", proxies)
    async with running(desk, tmp_path, executor) as runner:
        await send(desk, site, 1, Egress(pool="p"))
        await desk.all_done(1)
        await runner.pools.look()
        assert runner.pools._uses
        runner.pools._clock = lambda: time.monotonic() + 301
        await runner.pools.look()
        assert not runner.pools._uses


async def test_what_happens_to_proxies_stands_in_the_log_of_the_job(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    await keep(desk, "pool.p", proxies)
    await proxies[0].kill()
    proxies[1].mood = "credentials"
    async with running(desk, tmp_path):
        await send(desk, site, 3, Egress(pool="p"))
        records = await desk.all_done(3)
    assert {r.status for r in records} == {"ok"}
    assert {u for r in records for u in r.upstreams} == {str(proxies[2].proxy)}
    lines = [log.text for log in desk.logs if log.event == "line" and log.level == "warning"]
    assert any(str(proxies[0].proxy) in t and "no connection" in t for t in lines)
    assert any(str(proxies[1].proxy) in t and "refuses the credentials" in t for t in lines)
    assert len(lines) == 2, "once each"


# --- tests of proxies --------------------------------------------------------------------------------------


async def test_a_pool_is_tested_from_a_runner(
    desk: FrontDesk, site: Site, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    good, socks, dead = proxies
    jet = Jet(desk.nc)
    seal = Seal(bytes(32))
    jobs = JobStore(jet, seal=seal, clock=time.time, new_id=lambda: "job1", new_seed=lambda: 7)
    store = jobs.proxies
    desk.silent = True
    await dead.kill()
    wrong = [f"http://v:wrong@127.0.0.1:{good.port}", f"socks5://v:wrong@127.0.0.1:{socks.port}"]
    urls = [*(p.proxy.url for p in proxies), *wrong]
    await store.take("p", "\n".join(urls), replace=True)
    await store.switch("p", [f"127.0.0.1:{socks.port}"], enabled=False)
    quarantine = Quarantine(jet, "test", clock=time.time)
    fleet = Fleet(jet, quarantine, clock=time.time)
    trials = ProxyTrials(jet, store, fleet, seal, clock=time.time)
    secrets = SecretDesk(jet, jobs, fleet.roster, quarantine, seal, clock=time.time)
    async with running(desk, tmp_path), asyncio.TaskGroup() as group:
        tasks = [group.create_task(part.run()) for part in (fleet, quarantine, secrets)]
        await eventually(lambda: any(r.state == "online" for r in fleet.runners()), what="a runner")
        alone = await trials.test("p")
        assert not good.asked or good.asked == [f"127.0.0.1:{good.port}"], "to itself at most"
        assert not socks.asked
        through = await trials.test("p", url=f"{site.url}/", runner="r1")
        for task in tasks:
            task.cancel()
    assert (alone.runner, alone.next) == ("r1", None)
    shown = [(t.ok, t.detail) for p in alone.items if (t := p.tested)]
    assert [ok for ok, _ in shown] == [True, True, False, False, False]
    assert "no connection" in shown[2][1]
    assert all("refuses the credentials" in detail for _, detail in shown[3:])
    results = [(t.ok, t.detail) for p in through.items if (t := p.tested)]
    assert [ok for ok, _ in results] == [True, True, False, False, False]
    assert "answered 200" in results[0][1]
    assert site.hits["/"] == 2
    view = await store.view("p")
    assert [p.tested.ok for p in view.proxies if p.tested] == [True, True, False, False, False]
    (row,) = await store.pools()
    assert (row.proxies, row.enabled, row.working, row.failing) == (5, 3, 1, 2)


async def test_tests_that_cannot_be_made_are_refused_in_words(
    desk: FrontDesk, proxies: list[UpstreamProxy], tmp_path: Path
) -> None:
    await keep(desk, "pool.p", proxies)
    async with running(desk, tmp_path):
        for trial, words in [
            (None, "names no pool"),
            (ProxyTrial(pool="none", revision=1, ticket=b"pool.none"), "changed meanwhile"),
            (ProxyTrial(pool="p", revision=1, ticket=b"pool.p", url="ftp://x"), "not an absolute http"),
        ]:
            reply = await desk.order("r1", "test_proxies", trial=trial)
            assert not reply.ok
            assert words in reply.detail
        await keep(desk, "pool.p", proxies[1:2])
        trial = ProxyTrial(pool="p", revision=1, first=1, count=1, ticket=b"pool.p")
        reply = await desk.order("r1", "test_proxies", trial=trial)
        assert (reply.ok, len(reply.tested)) == (True, 1)
    assert [p.connections for p in proxies] == [0, 1, 0]
