"""Loads of arrival rates, end to end: sessions start at their time, or are late, or dropped; none is lost."""

from __future__ import annotations

from pathlib import Path

from broker_config.embedded_server import EmbeddedServer
from broker_config.load import ConstantArrivalRate, RampingArrivalRate
from orchestrator.core.schedule import Schedule
from tests.support.backstage import backstage
from tests.support.load_scene import LoadScene, load_scene
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


def rate(rate: float, duration: str, **more: object) -> dict[str, object]:
    return {"executor": "constant-arrival-rate", "rate": rate, "duration": duration, **more}


async def account(scene: LoadScene, job: str) -> tuple[int, int, int]:
    """`(ok, late, dropped)` of a finished job, of which every session must be accounted for, once, and must
    have started at its time or within the limit after it."""
    done = await scene.stage.store.get(job)
    load = done.spec.load
    assert isinstance(load, ConstantArrivalRate | RampingArrivalRate)
    schedule, c = Schedule(load), done.counts
    assert c.planned == c.ok + c.cancelled + c.dropped == done.spec.total_sessions
    late = 0
    for r in await scene.ran(job):
        if r.status == "ok":
            due = schedule.start_of(r.session, done.started_at)
            assert due is not None
            assert r.start_error_ms is not None
            assert 0 <= r.started_at - due <= load.late_limit + 0.01
            assert abs(1000 * (r.started_at - due) - r.start_error_ms) < 1
            late += r.start_error_ms > 100
    assert c.late == late
    await scene.audit(job)
    return c.ok, c.late, c.dropped


async def test_sessions_start_at_their_times(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene:
        async with scene.runner(StubExecutor(0.05), slots=4):
            job = await scene.submit(rate(10, "1s", start_delay="200ms"))
            done = await scene.stage.finished(job.id)
        ok, _, dropped = await account(scene, job.id)
        assert (ok, dropped) == (10, 0)
        records = await scene.ran(job.id)
        # In order, one each 0.1 s, the first after the delay.
        assert [r.session for r in records] == list(range(1, 11))
        assert done.started_at is not None
        assert records[0].started_at >= done.started_at + 0.2
        errors = sorted(r.start_error_ms or 0 for r in records)
        assert errors[5] < 50
        checkpoint = await scene.stage.store.checkpoint(job.id)
        assert checkpoint is not None
        assert checkpoint.total.metrics["start_error"].count == 10


async def test_a_rate_that_is_too_high_is_late_and_dropped_and_never_a_burst(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """2 slots and 0.3 s a session can do 6 to 7 a second; 20 are asked for."""
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(0.3)
        async with scene.runner(stub, slots=2):
            job = await scene.submit(rate(20, "1200ms", late_limit="400ms"))
            done = await scene.stage.finished(job.id)
        ok, late, dropped = await account(scene, job.id)
        assert ok + dropped == 24
        assert 4 <= ok <= 12
        assert late > 0
        assert stub.most_active == 2
        assert done.ended_at is not None
        assert done.started_at is not None
        assert done.ended_at - done.started_at < 1.2 + 2
        assert done.verdict == "passed"


async def test_max_vus_is_never_passed(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(0.4)
        async with scene.runner(stub, slots=8):
            job = await scene.submit(rate(10, "1s", max_vus=2, late_limit="200ms"))
            await scene.stage.finished(job.id)
        ok, _, dropped = await account(scene, job.id)
        assert stub.most_active == 2
        assert ok + dropped == 10
        assert dropped >= 2
        # Nobody was asked to run those.
        assert sum(b - a + 1 for o in await scene.owed(job.id) for a, b in o.sessions) >= dropped - 4


async def test_what_comes_while_the_job_is_paused_is_dropped(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(0.02)
        async with scene.runner(stub, slots=4):
            job = await scene.submit(rate(10, "2500ms", late_limit="200ms"))
            await eventually(lambda: len(stub.seen("end")) >= 3, what="some sessions")
            await scene.stage.store.command(job.id, "pause")

            async def one_is_dropped() -> bool:
                return any(o.status == "dropped" for o in await scene.owed(job.id))

            await eventually(one_is_dropped, what="a dropped session")
            await scene.stage.store.command(job.id, "resume")
            await scene.stage.finished(job.id)
        ok, _, dropped = await account(scene, job.id)
        assert ok + dropped == 25
        assert dropped >= 1
        assert ok >= 5
        starts = [r.started_at for r in await scene.ran(job.id) if r.status == "ok"]
        # After the pause come those that are not too late yet, and then it goes on one by one.
        assert max(sum(a <= b < a + 0.05 for b in starts) for a in starts) <= 5


async def test_another_conductor_keeps_the_times(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene, backstage(own_broker.url, "two") as other:
        stub = StubExecutor(0.05)
        async with scene.runner(stub, slots=4):
            job = await scene.submit(rate(10, "2s"))
            await eventually(lambda: len(stub.seen("end")) >= 3, what="some sessions")
            await scene.hand_over(other)
            await scene.stage.finished(job.id)
        ok, _, dropped = await account(scene, job.id)
        assert ok + dropped == 20
        assert ok >= 10
        assert len(stub.seen("start")) == len(set(stub.seen("start"))) == ok


async def test_a_cancel_ends_a_load_that_waits_for_its_times(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(0.02)
        async with scene.runner(stub, slots=4):
            job = await scene.submit(rate(4, "60s"))
            await eventually(lambda: len(stub.seen("end")) >= 2, what="some sessions")
            await scene.stage.store.command(job.id, "cancel")
            done = await scene.stage.finished(job.id)
        c = done.counts
        assert (done.verdict, c.planned) == ("aborted", 240)
        assert c.ok + c.cancelled == 240
        assert c.cancelled > 200
        await account(scene, job.id)


async def test_a_ramp_begins_slowly(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    stages = [{"duration": "900ms", "target": 20}, {"duration": "100ms", "target": 0}]
    load = {"executor": "ramping-arrival-rate", "stages": stages}
    async with load_scene(own_broker.url, tmp_path) as scene:
        async with scene.runner(StubExecutor(0.02), slots=6):
            job = await scene.submit(load, sessions=9)
            done = await scene.stage.finished(job.id)
        ok, _, dropped = await account(scene, job.id)
        # The rates' integral is 10; the job wants 9 at most.
        assert ok + dropped == job.spec.total_sessions == 9
        assert dropped == 0
        assert done.started_at is not None
        begun = [r.started_at - done.started_at for r in await scene.ran(job.id)]
        assert sum(t < 0.4 for t in begun) <= 2


async def test_a_session_that_hangs_is_cancelled_after_graceful_stop(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(lambda d: None if d.session == 2 else 0.02)
        async with scene.runner(stub, slots=4):
            job = await scene.submit(rate(10, "500ms", graceful_stop="200ms"))
            done = await scene.stage.finished(job.id)
        assert (done.verdict, done.counts.ok, done.counts.cancelled) == ("passed", 4, 1)
        await account(scene, job.id)
