"""Runners as processes that are killed, stopped and drained, and a broker that is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker_config.embedded_server import EmbeddedServer
from broker_config.streams import PROGRESS
from tests.support.front_desk import FrontDesk, counted, front_desk
from tests.support.runner_processes import RunnerProcess, runner_process
from tests.support.waiting import eventually

LEASE = 1.5


@pytest.fixture
async def desk(own_broker: EmbeddedServer) -> AsyncIterator[FrontDesk]:
    async with front_desk(own_broker.url, lease=LEASE) as desk:
        yield desk


async def ready(desk: FrontDesk, *runners: RunnerProcess) -> None:
    for runner in runners:
        await eventually(
            lambda name=runner.name: any(b.runner == name for b in desk.heartbeats),  # type: ignore[misc]
            what=f"{runner.name} online",
        )


async def test_the_sessions_of_a_killed_runner_go_to_another(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_broker.url
    async with runner_process(url, tmp_path, "a", "--slots", "2", "--seconds", "-1") as a:
        await desk.dispatch(2)
        started = await a.seen("start", 2)
        a.signal(signal.SIGKILL)
        await a.end()
        async with runner_process(url, tmp_path, "b") as b:
            records = await desk.all_done(2)
            again = await b.seen("start", 2)
    assert [(r.runner, r.attempt, r.status) for r in records] == [("b", 2, "ok")] * 2
    assert min(e.at for e in again) >= min(e.at for e in started) + LEASE * 0.95


async def test_a_runner_that_wakes_without_its_lease_ends_the_session_first(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_broker.url
    # The zombie's session would be over by itself while it sleeps: still nothing of it may count.
    async with (
        runner_process(url, tmp_path, "a", "--slots", "1", "--seconds", "1.2") as a,
        runner_process(url, tmp_path, "b", "--slots", "1", "--seconds", "1.2") as b,
    ):
        await ready(desk, a, b)
        await desk.dispatch(2)
        await a.seen("start")
        await b.seen("start")
        (held,) = {e.session for e in a.events("start")}
        a.signal(signal.SIGSTOP)
        records = await desk.all_done(2)
        a.signal(signal.SIGCONT)
        # It works again after that.
        await eventually(lambda: "given up" in a.log, 1.0, what="the lost lease noticed")
        b.signal(signal.SIGTERM)
        await b.end()
        await desk.dispatch(1, first=3)
        records = await desk.all_done(3)
        assert {e.session for e in a.events("end")} <= {held, 3}
    assert counted(records) == {1: 1, 2: 1, 3: 1}
    by_session = {r.session: r for r in records}
    assert (by_session[held].runner, by_session[held].attempt) == ("b", 2)
    assert by_session[3].runner == "a"


async def test_a_woken_runner_cancels_at_once(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_broker.url
    async with runner_process(url, tmp_path, "a", "--slots", "4", "--seconds", "-1") as a:
        await desk.dispatch(4)
        await a.seen("start", 4)
        a.signal(signal.SIGSTOP)
        async with runner_process(url, tmp_path, "b", "--slots", "4") as b:
            await b.seen("end", 4)
            await desk.all_done(4)
            b.signal(signal.SIGTERM)
            await b.end()
        woken = asyncio.get_running_loop().time()
        a.signal(signal.SIGCONT)
        cancelled = await a.seen("cancel", 4, within=1.0)
        assert max(e.at for e in cancelled) - woken < 0.25
    assert [r.runner for r in await desk.stored()] == ["b"] * 4


async def test_a_broker_that_is_killed_and_comes_back(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Sessions that run go on, their records arrive, the rest follows; none is made twice in the counting."""
    url = own_broker.url
    async with runner_process(url, tmp_path, "a", "--slots", "4", "--seconds", "0.4") as a:
        await desk.dispatch(12)
        await a.seen("start", 4)
        os.kill(own_broker.pid, signal.SIGKILL)
        await eventually(lambda: own_broker.restarts == 1 and desk.nc.is_connected, what="the broker back")
        records = await desk.all_done(12, within=20)
        await eventually(lambda: len(desk.registrations) >= 2, what="registered anew")
        assert a.events("cancel") == []
        a.signal(signal.SIGTERM)
        assert await a.end() == 0
    assert counted(records) == dict.fromkeys(range(1, 13), 1)
    assert {r.status for r in records} == {"ok"}


async def test_results_survive_the_runner(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Ended while PROGRESS took nothing, killed, started again under another name: published as they were."""
    url = own_broker.url
    await desk.js.delete_stream(PROGRESS.name)
    async with runner_process(url, tmp_path, "a", "--slots", "3", data="data") as a:
        await desk.dispatch(3)
        await a.seen("end", 3)
        await eventually(lambda: len(list(tmp_path.glob("data/spool/*/*.json"))) == 3, what="the spool")
        a.signal(signal.SIGKILL)
        await a.end()
    await desk.open()
    async with runner_process(url, tmp_path, "b", "--slots", "1", "--seconds", "-1", data="data") as b:
        records = await desk.all_done(3)
        b.signal(signal.SIGTERM)
        assert b.events("start") == []
    assert sorted((r.session, r.runner, r.attempt) for r in records) == [(n, "a", 1) for n in (1, 2, 3)]
    assert list(tmp_path.glob("data/spool/*/*.json")) == []


async def test_drain_loses_nothing(desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path) -> None:
    url = own_broker.url
    async with (
        runner_process(url, tmp_path, "a", "--slots", "8", "--seconds", "0.1") as a,
        runner_process(url, tmp_path, "b", "--slots", "8", "--seconds", "0.1") as b,
    ):
        await ready(desk, a, b)
        await desk.dispatch(100)
        await a.seen("end", 5)
        a.signal(signal.SIGTERM)
        assert await a.end() == 0
        records = await desk.all_done(100)
        assert a.events("cancel") == []
        assert len(a.events("start")) == len(a.events("end"))
    assert counted(records) == dict.fromkeys(range(1, 101), 1)
    # Nobody had to wait for the lease of a session that was swallowed.
    starts = sorted(e.at for e in [*a.events("start"), *b.events("start")])
    assert max(y - x for x, y in itertools.pairwise(starts)) < LEASE * 0.9
    assert [h.state for h in desk.heartbeats if h.runner == "a"][-1] == "offline"


@pytest.mark.parametrize("how", ["grace", "second signal"])
async def test_what_is_not_done_within_the_grace_is_handed_back(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path, how: str
) -> None:
    url = own_broker.url
    grace = "0.3" if how == "grace" else "60"
    async with (
        runner_process(url, tmp_path, "a", "--slots", "2", "--seconds", "-1", "--grace", grace) as a,
    ):
        await desk.dispatch(2)
        await a.seen("start", 2)
        a.signal(signal.SIGTERM)
        await desk.heard("draining")
        if how == "second signal":
            a.signal(signal.SIGTERM)
        assert await a.end(within=3) == 0
        assert len(a.events("cancel")) == 2
        async with runner_process(url, tmp_path, "b"):
            records = await desk.all_done(2)
    assert [(r.runner, r.attempt) for r in records] == [("b", 2)] * 2


async def test_restart_is_a_drain_with_its_own_exit_code(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with runner_process(own_broker.url, tmp_path, "a", "--slots", "1", "--seconds", "0.3") as a:
        await desk.dispatch(1)
        await a.seen("start")
        assert (await desk.order("a", "restart")).ok
        assert await a.end() == 75
    (record,) = await desk.all_done(1)
    assert (record.status, record.attempt) == ("ok", 1)


async def test_a_session_may_take_longer_than_the_lease(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_broker.url
    async with (
        runner_process(url, tmp_path, "a", "--slots", "1", "--seconds", "2.2") as a,
        runner_process(url, tmp_path, "b", "--slots", "1", "--seconds", "2.2") as b,
    ):
        await ready(desk, a, b)
        await desk.dispatch(1)
        (record,) = await desk.all_done(1)
        assert len([*a.events("start"), *b.events("start")]) == 1
    assert record.attempt == 1


async def test_no_lease_is_trusted_while_the_broker_is_silent(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_broker.url
    async with runner_process(url, tmp_path, "a", "--slots", "1", "--seconds", "5") as a:
        await desk.dispatch(1)
        (start,) = await a.seen("start")
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            (cancel,) = await a.seen("cancel", within=LEASE)
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        assert cancel.at - start.at < LEASE * 1.1
        second = (await a.seen("start", 2))[1]
        assert (second.session, second.attempt) == (1, 2)
    assert await desk.stored() == []
