"""Scripted sessions reach runners that allow scripts, and no others; should one do so, it is not run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import PlatformOffer, RegisterReply, RegisterRequest
from broker_config.script import Script
from broker_config.subjects import RUNNER_REGISTER
from orchestrator.bus.registrar import Registrar
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.front_desk import front_desk
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

SCRIPT = Script(source="async def journey(page, context): ...\n")


async def registered(stage: Backstage, runner: str, **more: object) -> RegisterReply:
    request = RegisterRequest(
        runner=runner,
        instance=f"{runner}-1",
        platforms=[PlatformOffer(platform="linux-chromium")],
        slots=2,
        **more,  # type: ignore[arg-type]
    )
    answer = await stage.nc.request(RUNNER_REGISTER, codec.encode(request), timeout=5)
    return codec.decode(answer.data, RegisterReply)


async def test_who_allows_scripts_gets_the_consumers_of_both(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        registrar = Registrar(stage.nc, stage.fleet.roster, stage.quarantine, lease=15.0)
        task = asyncio.create_task(registrar.run())
        await registrar.listening.wait()
        plain = (await registered(stage, "plain")).settings
        assert plain is not None
        assert (plain.consumers, plain.script_consumers) == ({"linux-chromium": "linux-chromium"}, {})
        allowing = (await registered(stage, "allowing", pool="lab", scripts=True)).settings
        assert allowing is not None
        assert allowing.consumers == {"linux-chromium": "linux-chromium_lab"}
        assert allowing.script_consumers == {"linux-chromium": "linux-chromium_lab_scripts"}
        # No name of a pool opens these lanes.
        for pool, more in (("scripts", False), ("lab_scripts", False), ("x" * 60, True)):
            refusal = (await registered(stage, "sly", pool=pool, scripts=more)).refusal
            assert refusal is not None
            assert refusal.code == "bad_request"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_scripted_job_waits_in_words_and_a_plain_one_beside_it_does_not(
    own_broker: EmbeddedServer,
) -> None:
    async with backstage(own_broker.url) as stage:
        scripted = await stage.submit(3, script={"source": SCRIPT.source})
        plain = await stage.submit(3)
        runner = RawRunner(stage.nc)
        task = asyncio.create_task(runner.run())
        assert (await stage.finished(plain.id)).counts.ok == 3

        async def waits() -> bool:
            job = await stage.store.get(scripted.id)
            return job.waiting_for == ["linux-chromium (with --allow-scripts)"]

        await eventually(waits, 5)
        assert {job for job, _, _ in runner.started} == {plain.id}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_runner_without_leave_runs_no_script_that_reaches_it(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async with front_desk(own_broker.url, lease=5.0) as desk:
        stub = StubExecutor(0.0)
        runner = Runner(RunnerConfig(data_dir=tmp_path, nats=own_broker.url, name="r1", slots=1), stub)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(runner.run())
            await desk.dispatch(1, script=SCRIPT, retries=0)
            (record,) = await desk.all_done(1)
            runner.drain()
        assert record.error is not None
        assert (record.error.kind, record.error.infrastructure) == ("scripts_not_allowed", True)
        assert stub.events == []
        assert not desk.registrations[0].scripts
        assert not desk.heartbeats[0].scripts
