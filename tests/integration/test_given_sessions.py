"""Sessions that a runner was given at the last moment, and numbers that nobody needed."""

from __future__ import annotations

import asyncio
import time

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import ConductorRecord, Dispatch
from broker_config.subjects import CONDUCTOR, session_record
from orchestrator.bus.session_log import SessionLog
from tests.support.backstage import RawRunner, backstage
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
