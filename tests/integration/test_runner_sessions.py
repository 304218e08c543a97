"""One runner with a stub executor on a real broker: registration, sessions, records, retries, control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerUnavailable, RegistrationRefused
from broker_config.messages import Dispatch, ErrorInfo, JobControl, PlatformOffer, Refusal
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
    assert counted(records) == dict.fromkeys(range(1, 21), 1)
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
    """While PROGRESS takes no record the dispatches stay, under lease, and a full spool stops the slots."""
    await desk.js.delete_stream("PROGRESS")
    stub = StubExecutor(0.0)
    async with running(desk, stub, tmp_path, slots=2, spool_max_records=4) as runner:
        await desk.dispatch(4)
        await eventually(lambda: runner.outbox.full, what="a full spool")
        assert await desk.undone() == 4
        # Longer than the lease, nobody else is given one of them.
        other = await desk.js.pull_subscribe_bind("linux-chromium", "DISPATCH")
        with pytest.raises(nats.errors.TimeoutError):
            await other.fetch(1, timeout=2.3)
        await desk.dispatch(6, first=5)
        await desk.heard("online")
        assert len(stub.seen("start")) == 4
        await desk.open()
        records = await desk.all_done(10)
    assert counted(records) == dict.fromkeys(range(1, 11), 1)
    assert sorted(n for n, _ in stub.seen("start")) == list(range(1, 11))


async def test_infrastructure_faults_are_retried_and_then_final(desk: FrontDesk, tmp_path: Path) -> None:
    """Session 1 never gets out, 2 crashes its browser once, 3 each time."""
    no_way = ErrorInfo(kind="egress_failed", detail="no way out", infrastructure=True)
    crash = ErrorInfo(kind="browser_crashed", infrastructure=True)

    def play(d: Dispatch) -> ErrorInfo | None:
        if d.session == 2:
            return crash if d.attempt == 1 else None
        return no_way if d.session == 1 else crash

    stub = StubExecutor(0.0, play=play)
    async with running(desk, stub, tmp_path):
        await desk.dispatch(1, retries=2)
        await desk.dispatch(2, first=2, retries=1)
        records = {r.session: r for r in await desk.all_done(3)}
    assert sorted(stub.seen("end")) == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert (records[1].status, records[1].attempt, records[1].error) == ("failed", 3, no_way)
    assert (records[2].status, records[2].attempt, records[2].error) == ("ok", 2, None)
    assert (records[3].status, records[3].attempt) == ("failed", 2)
    assert records[3].error is not None
    assert records[3].error.kind == "poison"
    assert len([log for log in desk.logs if log.event == "retry"]) == 4


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


BAD = [
    b"",
    b"not json",
    b"[]",
    b'{"job":"job1"}',
    b'{"job":"a.b","session":1,"platform":"p","target":"t","url":"u","protocol":1}',
    b'{"job":"job1","session":1,"platform":"p","target":"t","url":"u","protocol":99}',
]


async def test_a_malformed_dispatch_is_rejected_and_the_consumer_goes_on(
    desk: FrontDesk, tmp_path: Path
) -> None:
    stub = StubExecutor(0.0)
    async with running(desk, stub, tmp_path, slots=1) as runner:
        for bad in BAD:
            await desk.dispatch_raw(bad)
        await desk.dispatch(2)
        await desk.all_done(2)
        assert runner.faults.malformed == len(BAD)
        kept = (await desk.js.stream_info("QUARANTINE")).state.messages
        assert kept == len(BAD)
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
        (record,) = await desk.all_done_but(1)
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


async def test_orders_that_are_none_are_kept_and_change_nothing(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(lambda d: None)
    async with running(desk, stub, tmp_path, slots=1):
        await desk.dispatch(1)
        await eventually(lambda: stub.active == 1)
        cancel = codec.encode(JobControl(job="job1", command="cancel"))
        for subject, data in (
            ("job.control.job1", b"nonsense"),
            ("job.control.job1", b'{"job": "job1", "command": "explode"}'),
            ("job.control.another", cancel),
            ("runner.control.r1", b"\xff\xfe"),
        ):
            await desk.nc.publish(subject, data)

        async def kept() -> bool:
            info = await desk.js.stream_info("QUARANTINE", subjects_filter="quarantine.control")
            return (info.state.subjects or {}).get("quarantine.control") == 4

        await eventually(kept, what="four messages in quarantine.control")
        assert stub.active == 1
        await desk.cancel()
        await desk.all_done(1)


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
            assert counted(records) == dict.fromkeys(range(1, 16), 1)
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


async def test_a_saturated_machine_runs_one_session_and_says_so(desk: FrontDesk, tmp_path: Path) -> None:
    stub = StubExecutor(0.05)
    # Any CPU use counts as saturation here.
    async with running(desk, stub, tmp_path, slots=4, saturation_busy=0.0):
        await eventually(lambda: desk.heartbeats and desk.heartbeats[-1].saturated, what="saturated")
        await desk.dispatch(6)
        records = await desk.all_done(6)
    assert counted(records) == dict.fromkeys(range(1, 7), 1)
    assert stub.most_active == 1
    assert all(r.saturated for r in records)


async def test_a_deleted_consumer_is_asked_for_again(desk: FrontDesk, tmp_path: Path) -> None:
    async with running(desk, StubExecutor(0.0), tmp_path, slots=2):
        await desk.dispatch(1)
        await desk.all_done(1)
        await desk.js.delete_consumer("DISPATCH", "linux-chromium")
        await eventually(lambda: len(desk.registrations) >= 2, what="registered anew")
        await desk.dispatch(3, first=2)
        await desk.all_done(4)


async def test_a_runner_without_heartbeat_ends(desk: FrontDesk, tmp_path: Path) -> None:
    class Broken(StubExecutor):
        broken = False

        @property
        def platforms(self) -> Sequence[PlatformOffer]:
            if self.broken:
                raise RuntimeError("no heartbeat can be made")
            return super().platforms

    url = desk.nc.connected_url
    assert url is not None
    runner = Runner(RunnerConfig(data_dir=tmp_path, nats=url.geturl()), stub := Broken(None))
    task = asyncio.create_task(runner.run())
    await eventually(runner.registered.is_set)
    stub.broken = True
    with pytest.raises(RuntimeError, match="no heartbeat"):
        async with asyncio.timeout(5):
            await task
    assert stub.closed


async def test_a_runner_can_be_told_to_end_while_browsers_start(desk: FrontDesk, tmp_path: Path) -> None:
    class Slow(StubExecutor):
        def __init__(self) -> None:
            super().__init__()
            self.starting = asyncio.Event()

        async def start(self) -> None:
            self.starting.set()
            await asyncio.Event().wait()

    url = desk.nc.connected_url
    assert url is not None
    runner = Runner(RunnerConfig(data_dir=tmp_path, nats=url.geturl()), stub := Slow())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(runner.run())
        await stub.starting.wait()
        runner.drain()
    assert task.result() == "drained"
    assert stub.closed


async def test_a_pull_that_is_taken_back_swallows_no_session(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """With this lease a swallowed session would come again only after the test's time."""
    async with front_desk(own_broker.url, lease=60.0) as desk:
        stub = StubExecutor(0.0)
        async with running(desk, stub, tmp_path, slots=16) as runner:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(desk.dispatch(1500))
                while not sending.done():
                    runner.pause()
                    await asyncio.sleep(0.002)
                    runner.resume()
                    await asyncio.sleep(0.002)
            records = await desk.all_done(1500, within=10)
    assert counted(records) == dict.fromkeys(range(1, 1501), 1)
    assert len(stub.seen("start")) == 1500
