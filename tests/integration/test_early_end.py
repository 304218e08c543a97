"""Thresholds that end a job, over a real broker: one verdict over all runners, whoever conducts or looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.job import Job, checkpoint_key
from broker_config.messages import Dispatch, ErrorInfo, JobControl, JobProgress, Measures, SessionRecord
from broker_config.subjects import job_control, job_progress, session_record
from cli.exit_codes import ExitCode, of_verdict
from orchestrator.bus.auditor import Auditor
from orchestrator.bus.job_store import STREAM, subject
from orchestrator.bus.session_log import SessionLog
from orchestrator.core.report.data import make_report
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.waiting import eventually

SESSIONS = 4_000


class Judged(RawRunner):
    """Ends sessions as `ends` says: `(ok, load)`."""

    ends: Callable[[Dispatch], tuple[bool, float]]

    async def record(self, d: Dispatch, status: str = "ok") -> None:
        ok, load = self.ends(d)
        record = SessionRecord(
            job=d.job,
            session=d.session,
            attempt=d.attempt,
            status="ok" if ok else "failed",
            runner=self.name,
            target=d.target,
            platform=d.platform,
            ended_at=time.time(),
            duration_ms=load,
            error=None if ok else ErrorInfo(kind="http_status", detail="503"),
            measures=Measures(load=load),
        )
        await self.nc.request(session_record(d.job, self.name), codec.encode(record), timeout=5)


@asynccontextmanager
async def fleet(stage: Backstage, **ends: Callable[[Dispatch], tuple[bool, float]]) -> AsyncIterator[None]:
    """Runners by name, four slots each."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for name, how in ends.items():
            runner = Judged(stage.nc, name, play=lambda d: 0.02)
            runner.ends = how
            tasks.append(group.create_task(runner.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def good(d: Dispatch) -> tuple[bool, float]:
    return True, 100.0


def bad(d: Dispatch) -> tuple[bool, float]:
    return False, 100.0


async def submit(stage: Backstage, threshold: str, **rule: Any) -> Job:
    rules = [{"threshold": threshold, "abort_on_fail": True, **rule}, "load.p95 < 2s"]
    return await stage.submit(SESSIONS, load={"executor": "shared-sessions", "vus": 8}, thresholds=rules)


async def test_a_failing_job_ends_early_with_one_verdict_over_two_runners(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        told: list[JobControl] = []

        async def hear(msg: Any) -> None:
            told.append(codec.decode(msg.data, JobControl))

        async with fleet(stage, good=good, bad=bad):
            # Half of all fail: neither runner alone would say so.
            job = await submit(stage, "error_rate < 20%")
            await stage.nc.subscribe(job_control(job.id), cb=hear)
            done = await stage.finished(job.id)
        assert (done.verdict, done.ended_by, done.desired) == ("failed", "threshold", "cancel")
        assert done.reason.startswith("ended early: error_rate < 20% does not hold (was ")
        assert of_verdict(done.verdict) is ExitCode.THRESHOLD_FAILED
        c = done.counts
        assert c.cancelled > SESSIONS / 2
        assert c.ok + c.failed + c.cancelled == c.planned == SESSIONS
        assert told[0].command == "cancel"
        report = await Auditor(stage.jet, stage.store).audit(job.id)
        assert report.agrees, report.findings
        stored = await stage.jet.get(STREAM, subject(checkpoint_key(job.id)))
        assert stored is not None
        assert b'"runs":[' in stored.value
        assert b'"buckets":{' not in stored.value
        page = make_report(done, await stage.store.checkpoint(job.id), made_at=time.time())
        assert [t.ended_job for t in page.thresholds] == [True, False]
        # Who says otherwise is found out.
        forged = msgspec.structs.replace(done, reason=done.reason.replace("20%", "99%"))
        await stage.store.write(forged, (await stage.store.read(job.id))[1])
        assert "verdict" in (await Auditor(stage.jet, stage.store).audit(job.id)).found


async def test_over_a_window_it_looks_at_the_last_sessions_only(own_broker: EmbeddedServer) -> None:
    slow_from = time.monotonic() + 2.5

    def slower(d: Dispatch) -> tuple[bool, float]:
        return True, 5_000.0 if time.monotonic() > slow_from else 50.0

    async with backstage(own_broker.url) as stage, fleet(stage, one=slower, two=slower):
        # Over all sessions the median would stay low for a long time.
        job = await submit(stage, "load.p50 < 1s", window="1s", delay="500ms")
        done = await stage.finished(job.id)
        assert time.monotonic() >= slow_from
        assert (done.verdict, done.ended_by) == ("failed", "threshold")
        assert "load.p50 < 1s does not hold (was " in done.reason
        assert "over the last 1s)" in done.reason
        checkpoint = await stage.store.checkpoint(job.id)
        assert checkpoint is not None
        assert (checkpoint.total.metrics["load"].quantile(0.5) or 0) < 1_000
        report = await Auditor(stage.jet, stage.store).audit(job.id)
        assert report.agrees, report.findings


async def test_who_attaches_late_and_who_takes_over_see_the_same_end(own_broker: EmbeddedServer) -> None:
    fail = asyncio.Event()

    def later(d: Dispatch) -> tuple[bool, float]:
        return not fail.is_set(), 100.0

    seen: list[JobProgress] = []

    async def hear(msg: Any) -> None:
        seen.append(codec.decode(msg.data, JobProgress))

    leads, leave = asyncio.Event(), asyncio.Event()

    async def conduct() -> None:
        async with backstage(own_broker.url, "first") as first:
            await eventually(lambda: first.leadership.holder == "first", 5, what="the first conducts")
            leads.set()
            await leave.wait()

    before = asyncio.create_task(conduct())
    await leads.wait()
    async with backstage(own_broker.url, "second") as stage:
        async with fleet(stage, one=later, two=later):
            job = await submit(stage, "error_rate < 30%", window="1s")
            await eventually(lambda: _ended(stage, job.id), 10, what="sessions ended")
            leave.set()
            await before
            await eventually(lambda: stage.leadership.holder == "second", 10, what="the second conducts")
            # It began from the checkpoint.
            await stage.nc.subscribe(job_progress(job.id), cb=hear)
            fail.set()
            done = await stage.finished(job.id)
        assert (done.verdict, done.ended_by) == ("failed", "threshold")
        await eventually(lambda: bool(seen) and seen[-1].state == "finished", 5, what="the last word")
        assert (seen[-1].verdict, seen[-1].reason) == (done.verdict, done.reason)
        assert seen[-1].counts == done.counts
        assert (await Auditor(stage.jet, stage.store).audit(job.id)).agrees
        counted = [row async for rows in SessionLog(stage.jet, stage.store).counted(job.id) for row in rows]
        assert len({r.session for r in counted}) == len(counted) == SESSIONS
        assert sum(r.status == "cancelled" for r in counted) == done.counts.cancelled
        assert all(r.target and r.asked for r in counted if r.status == "cancelled")


async def _ended(stage: Backstage, job: str) -> bool:
    checkpoint = await stage.store.checkpoint(job)
    return checkpoint is not None and checkpoint.total.ok > 20
