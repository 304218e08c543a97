"""Sessions that nobody will report: lost, poisonous, vanished, and of jobs that are over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import ConductorRecord, JobControl
from broker_config.provisioning import ensure_dispatch_consumer, provision
from broker_config.streams import DISPATCH, MAX_DELIVER
from broker_config.subjects import JOB_CONTROLS, session_record
from orchestrator.bus.jet import Jet
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.waiting import eventually


@asynccontextmanager
async def holding(stage: Backstage, name: str, instance: str) -> AsyncIterator[RawRunner]:
    """A runner that takes sessions and never ends one; it dies at the end of the block."""
    runner = RawRunner(stage.nc, name, slots=1, lease=1.0, play=lambda d: None)
    runner.instance = instance
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _conductors_word(stage: Backstage, job: str) -> ConductorRecord | None:
    entry = await stage.jet.get("PROGRESS", session_record(job, "conductor"))
    return codec.decode(entry.value, ConductorRecord) if entry else None


async def test_a_session_that_kills_its_runners_ends_as_poison(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(1)
        for n in range(1, 4):
            async with holding(stage, "victim", f"victim-{n}") as runner:
                await eventually(lambda r=runner: r.running, 10, what=f"attempt {n}")
                await runner.beat()
        # The fourth process is well, and must not be given the session any more.
        healthy = RawRunner(stage.nc, "victim", slots=0, lease=1.0)
        healthy.instance = "victim-4"
        task = asyncio.create_task(healthy.run())
        done = await stage.finished(job.id, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (done.counts.failed, done.counts.lost) == (1, 0)
        word = await _conductors_word(stage, job.id)
        assert word is not None
        assert word.error is not None
        assert (word.status, word.error.kind) == ("failed", "poison")
        assert (await stage.jet.api(f"STREAM.INFO.{DISPATCH.name}"))["state"]["messages"] == 0


async def test_a_session_whose_deliveries_are_used_up_is_lost(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        await ensure_dispatch_consumer(stage.nc, "linux-chromium", lease=1.0, max_deliver=2)
        job = await stage.submit(3, load={"executor": "shared-sessions", "vus": 3})
        beating = RawRunner(stage.nc, "refuser", slots=3)
        await beating.beat()

        async def queued() -> bool:
            info = await stage.jet.api(f"STREAM.INFO.{DISPATCH.name}")
            return int(info["state"]["messages"]) == 3

        await eventually(queued, 10)
        inbox = stage.nc.new_inbox()
        sub = await stage.nc.subscribe(inbox)
        ask = b'{"batch": 7, "expires": 3000000000}'
        await stage.nc.publish("$JS.API.CONSUMER.MSG.NEXT.DISPATCH.linux-chromium", ask, reply=inbox)
        refused = 0
        while refused < 6:
            msg: Msg = await sub.next_msg(timeout=5)
            if not (msg.headers or {}).get("Status"):
                await msg.nak()
                refused += 1
        done = await stage.finished(job.id, 20)
        assert (done.counts.lost, done.verdict) == (3, "error")
        word = await _conductors_word(stage, job.id)
        assert word is not None
        assert (word.status, word.attempt) == ("lost", MAX_DELIVER)


async def test_a_session_whose_message_vanished_is_sent_again(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(2, load={"executor": "shared-sessions", "vus": 2})
        idle = RawRunner(stage.nc, "idle", slots=2)
        await idle.beat()

        async def queued() -> list[int]:
            stored = await stage.jet.read_all(DISPATCH.name, "job.dispatch.>")
            return [s.seq for s in stored] if len(stored) == 2 else []

        for seq in await eventually(queued, 10):
            await stage.jet.delete(DISPATCH.name, seq)
        runner = RawRunner(stage.nc, "idle", slots=2)
        task = asyncio.create_task(runner.run())
        done = await stage.finished(job.id, 25)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (done.counts.ok, done.counts.lost) == (2, 0)
        assert sorted(runner.started) == [(job.id, 1, 2), (job.id, 2, 2)]


async def test_a_runner_that_missed_a_cancel_is_told_again(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(1)
        async with holding(stage, "deaf", "deaf-1") as runner:
            await eventually(lambda: runner.running, 10)
            await stage.store.command(job.id, "cancel")
            await stage.finished(job.id, 12)
            heard: list[JobControl] = []

            async def hear(msg: Msg) -> None:
                heard.append(codec.decode(msg.data, JobControl))

            await stage.nc.subscribe(JOB_CONTROLS, cb=hear)
            await eventually(lambda: heard, 5, what="another cancel")
            assert {(c.job, c.command) for c in heard} == {(job.id, "cancel")}


async def test_a_message_that_is_there_no_more_is_taken_back_by_nobody(own_broker: EmbeddedServer) -> None:
    """Whether the stream is empty, has gone on, or never came so far."""
    async with connected(own_broker.url, name="test") as nc:
        await provision(nc)
        jet = Jet(nc)
        assert not await jet.delete(DISPATCH.name, 1)
        seqs = [(await jet.publish("job.dispatch.linux-webkit", b"{}")).seq for _ in range(3)]
        assert await jet.delete(DISPATCH.name, seqs[1])
        assert [await jet.delete(DISPATCH.name, n) for n in (seqs[1], seqs[2] + 9)] == [False, False]
        for n in (seqs[0], seqs[2]):
            assert await jet.delete(DISPATCH.name, n)
            assert not await jet.delete(DISPATCH.name, n)
