"""The conductor against a real broker, with a runner that is a few lines of NATS."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import Conflict
from broker_config.job_spec import read_spec
from broker_config.messages import Dispatch, JobProgress
from broker_config.subjects import job_progress
from orchestrator.bus.session_log import SessionLog
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.waiting import eventually


@asynccontextmanager
async def running(stage: Backstage, **options: object) -> AsyncIterator[RawRunner]:
    runner = RawRunner(stage.nc, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_session_is_counted_once_and_the_job_ends(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage, running(stage, slots=8) as runner:
        job = await stage.submit(200, load={"executor": "shared-sessions", "vus": 8})
        done = await stage.finished(job.id)
        assert (done.verdict, done.counts.ok, done.counts.planned) == ("passed", 200, 200)
        assert Counter(s for _, s, _ in runner.started) == dict.fromkeys(range(1, 201), 1)
        assert {r.session for r in await stage.records(job.id)} == set(range(1, 201))
        checkpoint = await stage.store.checkpoint(job.id)
        assert checkpoint is not None
        assert checkpoint.total.metrics["load"].count == 200
        assert checkpoint.progress is not None
        assert checkpoint.progress.state == "finished"


async def test_vus_cap_is_never_passed(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage, running(stage, slots=8, play=lambda d: 0.02) as runner:
        job = await stage.submit(40, load={"executor": "shared-sessions", "vus": 3})
        await stage.finished(job.id)
        assert 1 <= runner.most_at_once <= 3


async def test_a_job_waits_visibly_for_its_platform_and_starts_when_it_comes(
    own_broker: EmbeddedServer,
) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(4, platforms=["windows-msedge"])

        async def waits() -> bool:
            return (await stage.store.get(job.id)).waiting_for == ["windows-msedge"]

        await eventually(waits, 5)
        assert (await stage.store.get(job.id)).state == "queued"
        async with running(stage, platform="windows-msedge"):
            done = await stage.finished(job.id)
            assert (done.counts.ok, done.waiting_for) == (4, [])


async def test_pause_takes_back_what_waits_and_resume_sends_it_again(own_broker: EmbeddedServer) -> None:
    gate = asyncio.Event()

    async with backstage(own_broker.url) as stage:
        runner = RawRunner(stage.nc, slots=2, play=lambda d: 0.01 if gate.is_set() else 0.3)
        task = asyncio.create_task(runner.run())
        job = await stage.submit(30, load={"executor": "shared-sessions", "vus": 20})
        await eventually(lambda: len(runner.started) >= 2, 5)
        await stage.store.command(job.id, "pause")
        await eventually(lambda: not runner.running, 5)

        async def nothing_queued() -> bool:
            info = await stage.jet.api("STREAM.INFO.DISPATCH")
            return int(info["state"]["messages"]) == 0

        await eventually(nothing_queued, 8)
        begun = len(runner.started)
        assert (await stage.store.get(job.id)).state == "paused"
        gate.set()
        await stage.store.command(job.id, "resume")
        done = await stage.finished(job.id)
        assert begun < 30
        assert done.counts.ok == 30
        assert Counter(s for _, s, _ in runner.started) == dict.fromkeys(range(1, 31), 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_cancel_ends_everything_and_accounts_for_all(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage, running(stage, slots=2, play=lambda d: 0.2) as runner:
        job = await stage.submit(1000, load={"executor": "shared-sessions", "vus": 2})
        await eventually(lambda: len(runner.started) >= 3, 5)
        await stage.store.command(job.id, "cancel", "enough")
        done = await stage.finished(job.id, 12)
        c = done.counts
        assert done.verdict == "aborted"
        assert c.ok + c.cancelled == c.planned == 1000
        assert c.cancelled >= 990


async def test_another_orchestrator_takes_over_and_counts_go_on(own_broker: EmbeddedServer) -> None:
    async with (
        backstage(own_broker.url, "two") as second,
        backstage(own_broker.url, "one") as first,
        running(second, slots=4, play=lambda d: 0.01) as runner,
    ):
        await eventually(lambda: first.leadership.leading or second.leadership.leading, 5)
        leader, other = (first, second) if first.leadership.leading else (second, first)
        job = await other.submit(150, load={"executor": "shared-sessions", "vus": 4})
        await eventually(lambda: len(runner.started) > 40, 10)
        # The holder loses the key as if it had been silent; the work ends, the state stays.
        entry = await leader.jet.get("KV_leadership", "$KV.leadership.conductor")
        assert entry is not None
        await leader.jet.publish_marker("$KV.leadership.conductor", entry.revision)
        done = await other.finished(job.id, 20)
        assert done.counts.ok == 150
        assert Counter(s for _, s, _ in runner.started) == dict.fromkeys(range(1, 151), 1)


async def test_two_jobs_share_a_platform_by_priority(own_broker: EmbeddedServer) -> None:
    order: list[str] = []

    def play(d: Dispatch) -> float:
        order.append(d.job)
        return 0.002

    async with backstage(own_broker.url) as stage:
        low = await stage.submit(120, priority=0, load={"executor": "shared-sessions", "vus": 50})
        high = await stage.submit(120, priority=5, load={"executor": "shared-sessions", "vus": 50})
        async with running(stage, slots=4, play=play):
            await stage.finished(high.id)
            await stage.finished(low.id)
    head = Counter(order[: order.index(high.id) + 100])
    assert head[high.id] > 2 * head[low.id]
    assert head[low.id] > 0


async def test_progress_is_conflated_and_its_seq_grows(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage, running(stage, slots=8) as _:
        heard: list[JobProgress] = []
        job = await stage.submit(600, load={"executor": "shared-sessions", "vus": 16})
        sub = await stage.nc.subscribe(job_progress(job.id))
        done = await stage.finished(job.id)
        while sub.pending_msgs:
            heard.append(codec.decode((await sub.next_msg()).data, JobProgress))
        assert [p.seq for p in heard] == sorted({p.seq for p in heard})
        assert heard[-1].state == "finished"
        assert done.ended_at
        assert done.started_at
        assert len(heard) <= 10 * (done.ended_at - done.started_at + 1) + 3


async def test_idempotency_key_gives_the_same_job_and_refuses_another_spec(
    own_broker: EmbeddedServer,
) -> None:
    async with backstage(own_broker.url) as stage:
        spec = read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 3})
        first, new = await stage.store.submit(spec, source="api", idempotency_key="k1")
        again, new_again = await stage.store.submit(spec, source="api", idempotency_key="k1")
        assert (first.id, new, new_again) == (again.id, True, False)
        other = read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 4})
        with pytest.raises(Conflict, match=first.id):
            await stage.store.submit(other, source="api", idempotency_key="k1")


async def test_a_record_after_the_end_is_listed_and_does_not_count(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage, running(stage) as runner:
        job = await stage.submit(3)
        await stage.finished(job.id)
        late = Dispatch(job=job.id, session=2, attempt=2, platform="linux-chromium", target="t", url="u")
        await runner.record(late)
        page = await SessionLog(stage.jet, stage.store).page(job.id, cursor=None, limit=10, status=None)
        assert [(r.session, r.counted) for r in page.items if r.attempt == 2] == [(2, False)]
        assert sorted(r.session for r in page.items if r.counted) == [1, 2, 3]
