"""One runner with a stub executor on a real broker: registration, sessions, records, retries, control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerUnavailable, RegistrationRefused
from broker_config.messages import Dispatch, ErrorInfo, Refusal
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.front_desk import FrontDesk, counted, front_desk
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


@pytest.fixture
async def desk(own_broker: EmbeddedServer) -> AsyncIterator[FrontDesk]:
    async with front_desk(own_broker.url, lease=2.0) as desk:
        yield desk


@asynccontextmanager
async def running(
    desk: FrontDesk, executor: StubExecutor, tmp_path: Path, *, registered: bool = True, **config: Any
) -> AsyncIterator[Runner]:
    """A runner in this process; drained at the end."""
    settings = {"name": "r1", "slots": 4, "saturation_busy": 2.0, "grace_s": 5.0, **config}
    url = desk.nc.connected_url
    assert url is not None
    runner = Runner(RunnerConfig(data_dir=tmp_path / "data", nats=url.geturl(), **settings), executor)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        if registered:
            await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


async def test_sessions_run_are_recorded_once_and_leave_the_queue(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(0.01)
    await desk.dispatch(20)
    async with running(desk, stub, tmp_path) as runner:
        records = await desk.all_done(20)
    assert counted(records) == {n: 1 for n in range(1, 21)}
    assert stub.most_active == 4
    one = records[0]
    assert (one.status, one.runner, one.instance, one.attempt) == ("ok", "r1", runner.instance, 1)
    assert (one.target, one.platform, one.saturated) == ("shop", "linux-chromium", False)
    assert one.measures.http_status == 200
    assert 0 < one.ended_at - one.started_at < 5
    assert stub.closed
    assert desk.heartbeats[-1].state == "offline"
    events = [(log.session, log.event) for log in desk.logs]
    assert {(n, e) for n in range(1, 21) for e in ("started", "finished")} <= set(events)


async def test_the_ack_comes_after_the_record(desk: FrontDesk, tmp_path: Path) -> None:
    """While PROGRESS takes no record the dispatch stays; the slots go on until the spool is full."""
    await desk.js.delete_stream("PROGRESS")
    stub = StubExecutor(0.0)
    await desk.dispatch(10)
    async with running(desk, stub, tmp_path, slots=2, spool_max_records=4) as runner:
        await eventually(lambda: runner.outbox.full, what="a full spool")
        ended = len(stub.seen("end"))
        assert ended in (4, 5)
        assert await desk.undone() == 10
        # Longer than the lease: it is renewed for what waits, so nothing is made again.
        await asyncio.sleep(2.3)
        assert len(stub.seen("end")) == ended
        assert await desk.undone() == 10
        await desk.open()
        records = await desk.all_done(10)
        assert counted(records) == {n: 1 for n in range(1, 11)}
        assert all(attempt == 1 for _, attempt in stub.seen("start"))


async def test_an_infrastructure_fault_is_retried_then_final(desk: FrontDesk, tmp_path: Path) -> None:
    fault = ErrorInfo(kind="egress_failed", detail="no way out", infrastructure=True)
    stub = StubExecutor(0.0, play=lambda d: fault)
    async with running(desk, stub, tmp_path):
        await desk.dispatch(1, retries=2)
        (record,) = await desk.all_done(1)
    assert stub.seen("end") == [(1, 1), (1, 2), (1, 3)]
    assert (record.status, record.attempt, record.error) == ("failed", 3, fault)
    assert [log.event for log in desk.logs if log.event == "retry"] == ["retry", "retry"]


async def test_a_fault_that_passes_leaves_one_ok(desk: FrontDesk, tmp_path: Path) -> None:
    def play(d: Dispatch) -> ErrorInfo | None:
        return ErrorInfo(kind="browser_crashed", infrastructure=True) if d.attempt == 1 else None

    async with running(desk, StubExecutor(0.0, play=play), tmp_path):
        await desk.dispatch(1)
        (record,) = await desk.all_done(1)
    assert (record.status, record.attempt) == ("ok", 2)


async def test_a_session_that_crashes_every_browser_is_poison(desk: FrontDesk, tmp_path: Path) -> None:
    crash = ErrorInfo(kind="browser_crashed", infrastructure=True)
    async with running(desk, StubExecutor(0.0, play=lambda d: crash), tmp_path):
        await desk.dispatch(1)
        (record,) = await desk.all_done(1)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.kind == "poison"


async def test_an_answer_of_the_site_is_not_retried(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(0.0, play=lambda d: ErrorInfo(kind="http_status", detail="503"))
    async with running(desk, stub, tmp_path):
        await desk.dispatch(1, retries=5)
        (record,) = await desk.all_done(1)
    assert (record.status, record.attempt) == ("failed", 1)
    assert stub.seen("end") == [(1, 1)]


async def test_an_executor_that_raises_costs_no_slot(desk: FrontDesk, tmp_path: Path) -> None:
    def play(d: Dispatch) -> ErrorInfo | None:
        if d.session == 1:
            raise ValueError("a bug")
        return None

    async with running(desk, StubExecutor(0.0, play=play), tmp_path, slots=1):
        await desk.dispatch(3, retries=0)
        records = await desk.all_done(3)
    assert {r.session: r.status for r in records} == {1: "failed", 2: "ok", 3: "ok"}
    assert next(r for r in records if r.session == 1).error.kind == "runner_error"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"not json",
        b"[]",
        b'{"job":"job1"}',
        b'{"job":"a.b","session":1,"platform":"p","target":"t","url":"u","protocol":1}',
        b'{"job":"job1","session":1,"platform":"p","target":"t","url":"u","protocol":99}',
    ],
)
async def test_a_malformed_dispatch_is_rejected_and_the_consumer_goes_on(
    desk: FrontDesk, tmp_path: Path, bad: bytes
) -> None:
    stub = StubExecutor(0.0)
    async with running(desk, stub, tmp_path, slots=1) as runner:
        await desk.dispatch_raw(bad)
        await desk.dispatch(2)
        await desk.all_done(2)
        assert runner.faults.malformed == 1
    assert len(stub.seen("start")) == 2


async def test_cancel_reaches_running_and_late_sessions(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(lambda d: None if d.job == "job1" else 0.0)
    async with running(desk, stub, tmp_path, slots=3):
        await desk.dispatch(3)
        await eventually(lambda: stub.active == 3)
        async with asyncio.timeout(1):
            await desk.cancel()
            records = await desk.all_done(3)
        assert [r.status for r in records] == ["cancelled"] * 3
        await desk.dispatch(1, first=4)
        records = await desk.all_done(4)
        assert records[-1].status == "cancelled"
        assert len(stub.seen("start")) == 3
        await desk.dispatch(1, job="other", first=5)
        records = await desk.all_done(5)
        assert records[-1].status == "ok"


async def test_orders(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(lambda d: None if d.session == 1 else 0.0)
    async with running(desk, stub, tmp_path, slots=2):
        await desk.dispatch(1)
        await eventually(lambda: stub.active == 1)
        assert (await desk.order("r1", "pause")).ok
        await desk.heard("paused")
        await desk.dispatch(1, first=2)
        beat = await desk.heard("paused")
        assert [(s.job, s.session, s.attempt) for s in beat.running] == [("job1", 1, 1)]
        assert (await desk.order("r1", "stop_session", job="job1", session=1)).ok
        (record,) = await eventually(desk.stored, what="the stopped session's record")
        assert record.status == "cancelled"
        beat = await desk.heard("paused")
        assert beat.busy == 0
        assert stub.seen("start") == [(1, 1)]
        assert (await desk.order("r1", "resume")).ok
        await desk.all_done(2)
        assert not (await desk.order("r1", "stop_session", job="job1", session=9)).ok
        assert (await desk.order("r1", "reregister")).ok
        await eventually(lambda: len(desk.registrations) == 2, what="a second registration")
        answer = await desk.nc.request("runner.control.r1", b"{}", timeout=2)
        assert b'"ok":false' in answer.data


async def test_registration_waits_where_that_can_help(desk: FrontDesk, tmp_path: Path) -> None:
    desk.refusals = [
        Refusal(code="duplicate_id", detail="taken", retry_after_s=0.1),
        Refusal(code="unavailable", detail="not now"),
    ]
    async with running(desk, StubExecutor(0.0), tmp_path):
        await desk.dispatch(1)
        await desk.all_done(1)
    assert len(desk.registrations) == 3


@pytest.mark.parametrize("code", ["protocol_version", "bad_request", "unknown_token"])
async def test_a_refusal_ends_the_runner_in_words(desk: FrontDesk, tmp_path: Path, code: Any) -> None:
    desk.refusals = [Refusal(code=code, detail="because of the test")]
    url = desk.nc.connected_url
    assert url is not None
    stub = StubExecutor(0.0)
    runner = Runner(RunnerConfig(data_dir=tmp_path, nats=url.geturl()), stub)
    with pytest.raises(RegistrationRefused, match="because of the test"):
        async with asyncio.timeout(5):
            await runner.run()
    assert stub.closed


async def test_a_later_refusal_lets_running_sessions_finish(desk: FrontDesk, tmp_path: Path) -> None:
    url = desk.nc.connected_url
    assert url is not None
    runner = Runner(
        RunnerConfig(data_dir=tmp_path, nats=url.geturl(), name="r1", slots=1), stub := StubExecutor(0.5)
    )
    task = asyncio.create_task(runner.run())
    await eventually(runner.registered.is_set)
    await desk.dispatch(1)
    await eventually(lambda: stub.active == 1)
    desk.refusals = [Refusal(code="unknown_token", detail="revoked")] * 2
    runner.reregister()
    with pytest.raises(RegistrationRefused, match="revoked"):
        async with asyncio.timeout(5):
            await task
    (record,) = await desk.stored()
    assert record.status == "ok"


async def test_no_broker_is_said_in_words(tmp_path: Path) -> None:
    config = RunnerConfig(data_dir=tmp_path, nats="nats://127.0.0.1:1", connect_timeout_s=0.3)
    with pytest.raises(BrokerUnavailable, match="no NATS broker answers"):
        await Runner(config, StubExecutor()).run()


async def test_several_platforms_share_the_slots(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    platforms = ["linux-chromium", "linux-firefox", "linux-chrome"]
    async with front_desk(own_broker.url, platforms=platforms) as desk:
        stub = StubExecutor(0.05, platforms=platforms)
        async with running(desk, stub, tmp_path, slots=2):
            for n, platform in enumerate(platforms):
                await desk.dispatch(5, first=1 + 5 * n, platform=platform)
            records = await desk.all_done(15)
            assert counted(records) == {n: 1 for n in range(1, 16)}
            assert {r.platform for r in records} == set(platforms)
            assert stub.most_active == 2
            # A slot that waits for one platform comes to the next within its turn.
            for n, platform in enumerate(platforms):
                await desk.dispatch(1, first=16 + n, platform=platform)
                await desk.all_done(16 + n, within=3.5)


async def test_a_result_of_which_the_ack_was_lost_is_not_made_again(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(0.0)
    async with running(desk, stub, tmp_path, slots=1):
        await desk.dispatch(1)
        await desk.all_done(1)
        # The broker gives the session again, as it does when an ack has not reached it.
        d = Dispatch(job="job1", session=1, platform="linux-chromium", target="shop", url="http://x/")
        await desk.dispatch_raw(codec.encode(d))
        await desk.all_done(1)
    assert stub.seen("start") == [(1, 1)]
    assert len(await desk.stored()) == 1
