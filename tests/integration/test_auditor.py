"""The auditor on a real stream, of jobs that a real conductor has run."""

from __future__ import annotations

import asyncio

import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import JobNotFound
from broker_config.job import checkpoint_key
from broker_config.messages import ConductorRecord, Dispatch, SessionRecord
from broker_config.subjects import CONDUCTOR, session_record
from orchestrator.bus.auditor import Auditor
from orchestrator.bus.job_store import subject
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.waiting import eventually


async def run_job(stage: Backstage, sessions: int) -> str:
    """A finished job whose session 3 was reported twice."""
    runner = RawRunner(stage.nc, slots=8)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runner.run())
        job = await stage.submit(sessions, load={"executor": "shared-sessions", "vus": 8})
        await eventually(lambda: (job.id, 3, 1) in runner.started and (job.id, 3) not in runner.running)
        (record,) = [r for r in await stage.records(job.id) if r.session == 3]
        again = codec.encode(record)
        await stage.nc.request(session_record(job.id, runner.name), again, timeout=5)
        await stage.finished(job.id)
        task.cancel()
    return job.id


async def test_it_agrees_with_the_conductor_over_several_pages(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        id = await run_job(stage, 1_100)
        auditor = Auditor(stage.jet, stage.store)
        report = await auditor.audit(id)
        job = await stage.store.get(id)
        checkpoint = await stage.store.checkpoint(id)
        assert report.findings == [f for f in report.findings if not f.is_fault]
        assert report.agrees
        assert report.records == 1_101
        assert (report.counts.planned, report.counts.ok) == (1_100, 1_100)
        assert [(f.session, f.kind) for f in report.findings] == [(3, "superseded")]
        assert checkpoint is not None
        assert checkpoint.progress is not None
        assert (await auditor.audit(id, checkpoint.progress)).agrees
        assert (await auditor.audit(id, job.counts)).agrees
        # Without a checkpoint the job's document is what is claimed.
        await stage.jet.publish_marker(
            subject(checkpoint_key(id)), (await stage.store.read_checkpoint(id))[1]
        )
        assert (await auditor.audit(id)).agrees


async def test_it_agrees_with_a_job_that_was_cancelled(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage, asyncio.TaskGroup() as group:
        runner = RawRunner(stage.nc, slots=2, play=lambda d: 0.05)
        task = group.create_task(runner.run())
        job = await stage.submit(100, load={"executor": "shared-sessions", "vus": 2})
        await eventually(lambda: len(runner.started) >= 5)
        running = await Auditor(stage.jet, stage.store).audit(job.id)
        assert running.faults == 0, running.findings
        await stage.store.command(job.id, "cancel", "enough")
        await stage.finished(job.id)
        report = await Auditor(stage.jet, stage.store).audit(job.id)
        assert report.faults == 0, report.findings
        assert report.counts.cancelled >= 90
        assert report.counts.ended == 100
        task.cancel()


async def test_it_finds_what_was_forged_before_the_fold_saw_it(own_broker: EmbeddedServer) -> None:
    """The fold takes these records at their word, or leaves them out; the auditor names each."""
    gate = asyncio.Event()

    def play(d: Dispatch) -> float | None:
        gate.set()
        return 0.3

    async with backstage(own_broker.url) as stage, asyncio.TaskGroup() as group:
        runner = RawRunner(stage.nc, slots=1, play=play)
        task = group.create_task(runner.run())
        job = await stage.submit(5)
        await asyncio.wait_for(gate.wait(), 10)
        forged = SessionRecord(
            job=job.id, session=5, attempt=99, status="lost", runner="mallory", target="x", platform="y"
        )
        owed = ConductorRecord(job=job.id, sessions=[(9, 9)], status="ok", at=1.0)
        for writer, data in (
            ("mallory", codec.encode(forged)),
            ("raw", codec.encode(forged)),
            ("mallory", b"{"),
            (CONDUCTOR, codec.encode(owed)),
        ):
            await stage.nc.request(session_record(job.id, writer), data, timeout=5)
        await stage.finished(job.id)
        report = await Auditor(stage.jet, stage.store).audit(job.id)
        kinds = {f.kind for f in report.findings if f.is_fault}
        assert kinds == {
            "attempt", "status", "target", "platform", "forged-runner", "unreadable", "outside-plan",
        }, report.findings  # fmt: skip
        assert report.counts.lost == 1
        assert not report.agrees
        task.cancel()


async def test_a_job_that_is_not_there_is_said_to_be_missing(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        with pytest.raises(JobNotFound, match="nobody"):
            await Auditor(stage.jet, stage.store).audit("nobody")
