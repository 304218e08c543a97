"""The kill switch on the bus: what it ends and refuses, who hears of it when, and what it survives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import KillHolds, KillNotFound
from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.keyring import Keyring
from broker_config.kill import Kill
from broker_config.messages import JobControl
from broker_config.subjects import JOB_CONTROL_ALL, job_control
from orchestrator.bus.auditor import Auditor
from orchestrator.bus.kill_switch import KillSwitch
from runner.service import HOLD, Runner
from runner.settings import RunnerConfig
from runner.work.executor import Executor
from tests.support.backstage import Backstage, backstage
from tests.support.counting_site import CountingSite, counting_site
from tests.support.relay import Relay, relay
from tests.support.stub_executor import StubExecutor
from tests.support.traffic_executor import TrafficExecutor
from tests.support.waiting import eventually

ENDLESS = {"executor": "shared-sessions", "vus": 4}


async def submit(stage: Backstage, sessions: int = 4, *, project: str = "default", url: str = "") -> Job:
    spec = read_spec(
        {"targets": [{"url": url or "http://127.0.0.1:1/"}], "sessions": sessions, "load": ENDLESS}
    )
    job, _ = await stage.store.submit(spec, source="api", idempotency_key=None, project=project)
    return job


def kill_of(job: Job, revision: int = 0) -> Kill:
    return Kill(
        scope="job",
        job=job.id,
        project=job.project,
        by="ada",
        reason="stop",
        at=time.time(),
        revision=revision,
    )


def fleet() -> Kill:
    return Kill(scope="fleet", by="ada", at=time.time())


@asynccontextmanager
async def running(
    url: str, executor: Executor, data_dir: Path, *, slots: int = 4, kills: Sequence[Kill] = ()
) -> AsyncIterator[Runner]:
    config = RunnerConfig(data_dir=data_dir, nats=url, name="r1", slots=slots, saturation_busy=2.0, grace_s=1)
    runner = Runner(config, executor)
    runner.obey_kills(kills)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


@pytest.mark.parametrize("scope", ["job", "project", "fleet"])
async def test_all_sessions_are_cancelled_and_the_job_is_aborted(
    own_broker: EmbeddedServer, tmp_path: Path, scope: str
) -> None:
    stub = StubExecutor(None)
    async with backstage(own_broker.url, keyring=Keyring.new(), registers=True) as stage:
        async with running(own_broker.url, stub, tmp_path):
            job, other = await submit(stage, 9, project="shop"), await submit(stage, 1)
            await eventually(lambda: stub.active == 4, what="four sessions run")
            await stage.kills.kill(
                {
                    "job": kill_of(job),
                    "project": Kill(scope="project", project="shop", by="ada", reason="stop"),
                    "fleet": Kill(scope="fleet", by="ada", reason="stop"),
                }[scope]
            )
            done = await stage.finished(job.id)
            assert (done.verdict, done.reason) == ("aborted", "killed by ada: stop")
            assert (done.counts.planned, done.counts.cancelled) == (9, 9)
            assert job.id in stub.cut_jobs
            if scope == "fleet":
                await stage.finished(other.id)
            else:
                assert (await stage.store.get(other.id)).desired == "run"
                assert other.id not in stub.cut_jobs
        report = await Auditor(stage.jet, stage.store).audit(job.id)
        assert report.agrees, report.findings


async def test_a_runner_takes_nothing_of_what_it_knows_to_be_killed(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Although the conductor has not heard of it and sends some: it says `cancelled`."""
    stub = StubExecutor(0.0)
    async with backstage(own_broker.url, keyring=Keyring.new(), registers=True) as stage:
        job = await submit(stage, 4)
        async with running(own_broker.url, stub, tmp_path, kills=[kill_of(job, revision=1)]):
            done = await stage.finished(job.id)
        assert (done.counts.planned, done.counts.cancelled) == (4, 4)
        assert stub.seen("start") == []


async def test_new_work_is_refused_in_words_until_the_kill_is_lifted(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        paused, ended = await submit(stage, project="shop"), await submit(stage, 2)
        await stage.store.command(paused.id, "pause")
        await stage.store.command(ended.id, "cancel")
        await stage.finished(ended.id)
        await stage.kills.kill(Kill(scope="project", project="shop", by="ada", reason="no"))
        with pytest.raises(
            KillHolds, match=r"shop can be submitted: it was killed by ada: no; .* --project shop"
        ):
            await submit(stage, project="shop")
        with pytest.raises(KillHolds, match="be resumed"):
            await stage.store.command(paused.id, "resume")
        await submit(stage)
        await stage.kills.kill(kill_of(ended))
        with pytest.raises(KillHolds, match=f"tb kill --lift --job {ended.id}"):
            await stage.store.submit(ended.spec, source="api", idempotency_key=None, retry_of=ended.id)
        await stage.kills.kill(fleet())
        with pytest.raises(KillHolds, match="nothing of the fleet can be submitted"):
            await submit(stage)
        for id in ("project-shop", "fleet", f"job-{ended.id}"):
            await stage.kills.lift(id)
            with pytest.raises(KillNotFound, match="tb kill --list"):
                await stage.kills.lift(id)
        await submit(stage, project="shop")


async def test_what_is_submitted_after_the_lifting_is_not_ended_by_the_old_kill(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Whichever of the two the conductor, and the runner, hear of first; over and over."""
    async with (
        backstage(own_broker.url, "one", keyring=Keyring.new(), registers=True) as stage,
        backstage(own_broker.url, "two") as other,
        running(own_broker.url, StubExecutor(0.0), tmp_path),
    ):
        for _ in range(25):
            held = await other.kills.kill(fleet())
            await other.kills.lift("fleet")
            job = await submit(other, 2)
            assert job.kills > held.revision
            done = await stage.finished(job.id)
            assert (done.verdict, done.counts.ok) == ("passed", 2), done.reason


async def test_a_kill_is_told_at_once_and_again_by_the_others_and_kept_over_restarts(
    own_broker: EmbeddedServer,
) -> None:
    async with backstage(own_broker.url, "one") as one, backstage(own_broker.url, "two"):
        heard: list[tuple[str, JobControl]] = []

        async def hear(msg: object) -> None:
            heard.append((msg.subject, codec.decode(msg.data, JobControl)))  # type: ignore[attr-defined]

        await one.nc.subscribe("job.control.*", cb=hear)
        await one.nc.flush()
        await one.nc.flush()
        held = await one.kills.kill(fleet())
        # By who took it, and by each of both as it is heard of.
        await eventually(lambda: len(heard) == 3, 5)
        assert {(s, m.command, m.kill) for s, m in heard} == {(JOB_CONTROL_ALL, "kill", held)}
        assert await one.kills.kill(Kill(scope="fleet", by="bob")) == held
        await eventually(lambda: len(heard) == 4, 5)
        job = Kill(scope="job", job="j1", project="default", at=0.0)
        await one.kills.kill(job)
        await eventually(lambda: len(heard) == 5, 5)
        assert heard[-1][0] == job_control("j1")
    async with backstage(own_broker.url, "three") as three:
        await asyncio.wait_for(three.kills.caught_up.wait(), 5)
        assert [k.id for k in three.kills.kills.all()] == ["fleet", "job-j1"]
        assert three.kills.kills.get("fleet") == held
        again = KillSwitch(three.jet, clock=time.time)
        assert [k.id for k in (await again.read()).all()] == ["fleet", "job-j1"]
        # Its job was killed too long ago for any of its sessions to begin.
        assert [k.id for k in await again.told()] == ["fleet"]


@asynccontextmanager
async def away(
    own_broker: EmbeddedServer, tmp_path: Path, *, registers: bool = True
) -> AsyncIterator[tuple[Backstage, Relay, CountingSite, Job]]:
    """A runner behind a cut network, whose session keeps its site busy."""
    at = urlsplit(own_broker.url)
    assert at.hostname is not None
    assert at.port is not None
    async with (
        counting_site() as site,
        relay(at.hostname, at.port) as line,
        backstage(own_broker.url, keyring=Keyring.new(), registers=True) as stage,
        running(f"nats://127.0.0.1:{line.port}", TrafficExecutor(), tmp_path, slots=1),
    ):
        job = await submit(stage, 1, url=site.url("a"))
        await eventually(lambda: len(site.kinds("a")) == 6 and site.seen["a"]["ws"] >= 2, 10)
        line.cut()
        if not registers:
            # Nobody answers any more.
            stage.registrar._answer = _nothing  # type: ignore[method-assign]
        cut = time.monotonic()
        await eventually(lambda: site.last["a"] > cut + 0.2, 5, what="it goes on while the runner is away")
        yield stage, line, site, job


async def _nothing(*message: object, **more: object) -> None:
    pass


async def test_a_runner_that_was_away_hears_of_a_kill_before_anything_more_leaves_its_gate(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with away(own_broker, tmp_path) as (stage, line, site, job):
        await stage.kills.kill(kill_of(job))
        # Only the answer to its registration tells it.
        stage.store.announce = _nothing  # type: ignore[method-assign]
        line.mend()
        await eventually(lambda: time.monotonic() - site.last["a"] > 1.0, 10, what="silence")
        assert site.open["a"] == 0
        # What was on its way when the connection was there again has still arrived. The site may go on to
        # send until the answer to the registration is there, but nobody reads it.
        assert site.heard["a"] - line.joined < 0.1
        assert site.last["a"] - line.joined < 1.0
        done = await stage.finished(job.id)
        assert (done.verdict, done.counts.cancelled) == ("aborted", 1)


async def test_traffic_is_held_until_someone_has_told_of_kills_or_nobody_does(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with away(own_broker, tmp_path, registers=False) as (stage, line, site, job):
        line.mend()
        await eventually(lambda: line.joined > 0, 10, what="the runner is back")
        before = site.seen["a"].total()
        await eventually(lambda: time.monotonic() - site.heard["a"] > 0.7 * HOLD, 10, what="silence")
        silent_at = site.heard["a"]
        assert silent_at - line.joined < 0.3
        assert site.open["a"] > 0
        await eventually(lambda: site.heard["a"] > silent_at, 10, what="it goes on")
        assert site.heard["a"] - line.joined > 0.9 * HOLD
        await eventually(lambda: site.seen["a"].total() > before + 3, 5, what="new requests")
        assert (await stage.store.get(job.id)).desired == "run"
