"""Loads of virtual users, end to end: how many at once, how long, and what becomes of the rest."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.load import RampingVus
from broker_config.messages import JobProgress
from orchestrator.core.schedule import ramped
from tests.support.backstage import backstage
from tests.support.load_scene import at_once, load_scene
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

TWO = [{"url": "http://127.0.0.1:1/", "name": "a", "share": 3}, {"url": "http://127.0.0.1:1/b", "name": "b"}]


async def test_constant_vus_run_for_their_time_and_leave_the_other_numbers_unused(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    heard: list[JobProgress] = []
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(0.15)
        async with scene.runner(stub, slots=6):
            sub = await scene.stage.nc.subscribe("job.progress.*")
            load = {"executor": "constant-vus", "vus": 3, "duration": "1s"}
            job = await scene.submit(load, targets=TWO)
            done = await scene.stage.finished(job.id)
        while sub.pending_msgs:
            heard.append(codec.decode((await sub.next_msg()).data, JobProgress))
        records = await scene.ran(job.id)
        assert done.verdict == "passed"
        assert done.started_at is not None
        # 3 users, 0.15 s a session: 21 in the best of worlds.
        assert 9 <= len(records) <= 23
        assert stub.most_active == 3
        assert records[-1].started_at < done.started_at + 1 + 0.3
        assert done.counts.planned == done.counts.ok == len(records)
        # One number after another was used; the rest is one range.
        (owed,) = await scene.owed(job.id)
        assert job.spec.total_sessions == 30
        assert (owed.status, owed.sessions) == ("unused", [(len(records) + 1, 30)])
        assert {r.session for r in records} == set(range(1, len(records) + 1))
        report = await scene.audit(job.id)
        assert report.counts.planned == len(records)
        for p in heard:
            assert p.counts.planned == p.counts.ended + p.counts.running + p.counts.dispatched
        checkpoint = await scene.stage.store.checkpoint(job.id)
        assert checkpoint is not None
        assert {n: c.planned for n, c in checkpoint.targets.items()} == {
            n: c.ok for n, c in checkpoint.targets.items()
        }
        assert sum(b.ok + b.failed + b.other for b in checkpoint.timeline.buckets) == len(records)


async def test_another_conductor_goes_on_with_the_time_that_is_left(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene, backstage(own_broker.url, "two") as other:
        stub = StubExecutor(0.05)
        async with scene.runner(stub, slots=4):
            load = {"executor": "constant-vus", "vus": 2, "duration": "1500ms", "pacing": "200ms"}
            job = await scene.submit(load)
            await eventually(lambda: len(stub.seen("start")) >= 4, what="some sessions")
            before = len(stub.seen("start"))
            await scene.hand_over(other)
            done = await scene.stage.finished(job.id)
        records = await scene.ran(job.id)
        assert done.started_at is not None
        assert done.counts.planned == done.counts.ok == len(records) > before
        assert records[-1].started_at < done.started_at + 1.8
        assert stub.most_active <= 2
        starts = [r.started_at for r in records]
        # Two users with a pause of 0.2 s: no third start within it.
        assert all(c - a >= 0.2 - 0.05 for a, c in zip(starts, starts[2:], strict=False))
        await scene.audit(job.id)


async def test_ramping_vus_follow_their_line(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    stages = [{"duration": "800ms", "target": 5}, {"duration": "400ms", "target": 0}]
    load = {"executor": "ramping-vus", "start_vus": 1, "stages": stages}
    async with load_scene(own_broker.url, tmp_path) as scene:
        async with scene.runner(StubExecutor(0.05), slots=8):
            job = await scene.submit(load, sessions=1000)
            done = await scene.stage.finished(job.id)
        records = await scene.ran(job.id)
        assert done.started_at is not None
        assert isinstance(job.spec.load, RampingVus)
        peak = 0
        for r in records:
            now = at_once(records, r.started_at)
            peak = max(peak, now)
            # A session starts a moment after it was sent.
            sent = [ramped(job.spec.load, r.started_at - done.started_at - late / 20) for late in range(8)]
            assert now <= max(sent)
        assert peak >= 4
        assert done.counts.planned == done.counts.ok == len(records)
        await scene.audit(job.id)


async def test_sessions_that_outlast_graceful_stop_are_cancelled_and_the_verdict_is_by_thresholds(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    load = {"executor": "constant-vus", "vus": 3, "duration": "300ms", "graceful_stop": "800ms"}
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(lambda d: {4: None, 5: None, 6: 0.4}.get(d.session, 0.05))
        async with scene.runner(stub):
            job = await scene.submit(load, sessions=1000, thresholds=["error_rate < 1%"])
            done = await scene.stage.finished(job.id)
        c = done.counts
        assert (done.verdict, c.cancelled, c.planned) == ("passed", 2, 2 + c.ok)
        assert {s for s, _ in stub.seen("cancel")} == {4, 5}
        assert (6, 1) in stub.seen("end")
        await scene.audit(job.id)


async def test_numbers_that_nobody_needed_are_not_cancelled_either(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene, scene.runner(StubExecutor(0.05)):
        job = await scene.submit({"executor": "constant-vus", "vus": 2, "duration": "10m"})
        await eventually(lambda: scene.desk.logs, what="a session")
        await scene.stage.store.command(job.id, "cancel", "enough")
        done = await scene.stage.finished(job.id)
        assert done.verdict == "aborted"
        assert done.counts.planned == done.counts.ended < 20
        await scene.audit(job.id)


async def test_a_paused_load_starts_nothing_and_its_time_goes_on(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(0.05)
        async with scene.runner(stub):
            load = {"executor": "constant-vus", "vus": 2, "duration": "900ms"}
            job = await scene.submit(load, sessions=1000)
            await eventually(lambda: len(stub.seen("end")) > 2, what="some sessions")
            await scene.stage.store.command(job.id, "pause")
            done = await scene.stage.finished(job.id)
        records = await scene.ran(job.id)
        assert done.started_at is not None
        assert done.ended_at is not None
        assert done.ended_at - done.started_at >= 0.9
        assert records[-1].started_at < done.started_at + 0.7
        await scene.audit(job.id)


async def test_shared_sessions_begin_after_their_delay_and_keep_their_pace(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    load = {"executor": "shared-sessions", "vus": 1, "start_delay": "300ms", "pacing": "250ms"}
    async with load_scene(own_broker.url, tmp_path) as scene:
        async with scene.runner(StubExecutor(0.02)):
            job = await scene.submit(load, sessions=3)
            done = await scene.stage.finished(job.id)
        starts = [r.started_at for r in await scene.ran(job.id)]
        assert done.started_at is not None
        assert done.counts.ok == 3
        assert starts[0] >= done.started_at + 0.3
        assert all(b - a >= 0.25 - 0.05 for a, b in pairwise(starts))
        assert starts[-1] - starts[0] < 3


async def test_max_duration_lets_running_sessions_end_and_aborts_the_job(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    load = {"executor": "shared-sessions", "vus": 2, "max_duration": "300ms", "graceful_stop": "700ms"}
    async with load_scene(own_broker.url, tmp_path) as scene:
        stub = StubExecutor(lambda d: {2: 0.6, 3: None}.get(d.session, 0.1))
        async with scene.runner(stub):
            job = await scene.submit(load, sessions=50)
            done = await scene.stage.finished(job.id)
        c = done.counts
        assert (done.verdict, done.ended_by) == ("aborted", "max_duration")
        assert "max_duration (300ms)" in done.reason
        assert (2, 1) in stub.seen("end")
        assert stub.seen("cancel") == [(3, 1)]
        assert done.started_at is not None
        assert all(r.started_at < done.started_at + 0.6 for r in await scene.ran(job.id))
        assert c.ok + c.cancelled == c.planned == 50
        await scene.audit(job.id)


async def test_several_platforms_share_the_users_as_the_plan_says(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    platforms = {"linux-chromium": 3, "linux-firefox": 1}
    async with load_scene(own_broker.url, tmp_path, list(platforms)) as scene:
        stub = StubExecutor(0.02, platforms=list(platforms))
        async with scene.runner(stub, slots=8), asyncio.timeout(20):
            load = {"executor": "constant-vus", "vus": 4, "duration": "10m"}
            job = await scene.submit(load, sessions=100, platforms=platforms)
            done = await scene.stage.finished(job.id)
        checkpoint = await scene.stage.store.checkpoint(job.id)
        assert checkpoint is not None
        counts = {p: c.ok for p, c in checkpoint.platforms.items()}
        assert counts == {"linux-chromium": 75, "linux-firefox": 25}
        first = [r.platform for r in (await scene.ran(job.id))[:60]]
        assert 5 <= first.count("linux-firefox") <= 30
        assert done.counts.planned == 100
