"""Sessions that a runner was given at the last moment, and numbers that nobody needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.msg import Msg

from broker_config import codec
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.job import checkpoint_key, read_checkpoint, write_checkpoint
from broker_config.messages import ConductorRecord, Dispatch
from broker_config.subjects import CONDUCTOR, session_record
from orchestrator.bus.jet import Jet
from orchestrator.bus.session_log import SessionLog
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.waiting import eventually


class Silent(RawRunner):
    """Takes what it gets, and is never heard of it."""

    async def _take(self, msg: Msg) -> None:
        self.started.append(("", codec.decode(msg.data, Dispatch).session, 1))


async def test_what_a_runner_was_given_is_no_mere_number(own_broker: EmbeddedServer) -> None:
    load = {"executor": "constant-vus", "vus": 2, "duration": "500ms"}
    async with backstage(own_broker.url) as stage:
        runner = Silent(stage.nc, slots=2)
        task = asyncio.create_task(runner.run())
        try:
            job = await stage.submit(50, load=load)
            done = await stage.finished(job.id)
        finally:
            task.cancel()
    assert {s for _, s, _ in runner.started} == {1, 2}
    assert (done.counts.planned, done.counts.cancelled) == (2, 2)


async def test_what_an_earlier_conductor_sent_is_no_mere_number(own_broker: EmbeddedServer) -> None:
    """Who takes over cannot know whether a runner has had it: a broker that died may have forgotten."""
    load = {"executor": "constant-vus", "vus": 2, "duration": "3s"}
    async with backstage(own_broker.url) as stage:
        runner = Silent(stage.nc, slots=1)
        task = asyncio.create_task(runner.run())
        try:
            job = await stage.submit(50, load=load)
            await eventually(lambda: runner.started, 5)
        finally:
            task.cancel()
    async with backstage(own_broker.url, "two") as stage:
        done = await stage.finished(job.id)
        # One was given to the runner, the other waited for it.
        assert (done.counts.planned, done.counts.cancelled) == (2, 2)


async def test_the_last_word_of_a_job_is_said_by_the_successor(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        task = asyncio.create_task(RawRunner(stage.nc).run())
        job = await stage.submit(5)
        await stage.finished(job.id)
        task.cancel()
        await eventually(said_by(stage, job.id), 5)
    async with connected(own_broker.url, name="meddler") as nc:
        # As if the conductor had died before its second checkpoint.
        jet = Jet(nc)
        entry = await jet.get("KV_jobs", f"$KV.jobs.{checkpoint_key(job.id)}")
        assert entry is not None
        checkpoint = read_checkpoint(entry.value)
        assert checkpoint.progress is not None
        checkpoint.progress = msgspec.structs.replace(checkpoint.progress, state="running", verdict=None)
        await jet.publish(f"$KV.jobs.{checkpoint_key(job.id)}", write_checkpoint(checkpoint))
    async with backstage(own_broker.url, "two") as stage:
        await eventually(said_by(stage, job.id), 10)


def said_by(stage: Backstage, job: str) -> Callable[[], Awaitable[bool]]:
    async def said() -> bool:
        checkpoint = await stage.store.checkpoint(job)
        return bool(checkpoint and checkpoint.progress and checkpoint.progress.state == "finished")

    return said


async def test_a_late_record_of_an_unused_number_is_not_listed_as_counted(own_broker: EmbeddedServer) -> None:
    load = {"executor": "constant-vus", "vus": 2, "duration": "10m"}
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(50, load=load)
        owed = ConductorRecord(job=job.id, sessions=[(7, 9)], status="unused", at=time.time())
        await stage.jet.publish(session_record(job.id, CONDUCTOR), codec.encode(owed))
        runner = RawRunner(stage.nc)
        for session in (8, 10):
            await runner.record(
                Dispatch(
                    job=job.id,
                    session=session,
                    platform="linux-chromium",
                    target="http://127.0.0.1:1/",
                    url="http://127.0.0.1:1/",
                )
            )

        async def saved() -> bool:
            checkpoint = await stage.store.checkpoint(job.id)
            return checkpoint is not None and checkpoint.superseded == 1 and checkpoint.total.ok == 1

        await eventually(saved, what="a checkpoint of both records")
        log = SessionLog(stage.jet, stage.store)
        assert [row.session async for rows in log.counted(job.id) for row in rows] == [10]
