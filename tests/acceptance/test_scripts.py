"""A scripted job: it waits for a runner that allows scripts, and a session of it that blocks costs itself."""

from __future__ import annotations

import asyncio
import signal

from broker_config.embedded_server import EmbeddedServer
from broker_config.platform import this_system
from cli import job_document
from cli.client import Client
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.site import Site
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

from .machine import RUNNER, Machine

PLATFORM = f"{this_system()}-chromium"
SCRIPT = """
import time

async def journey(page, context, data):
    async with step("open"):
        await page.goto(data["url"])
    if data["session"] == 2:
        time.sleep(3600)
"""


async def test_a_scripted_job_runs_only_where_scripts_are_allowed(
    own_broker: EmbeddedServer, machine: Machine, site: Site
) -> None:
    url = own_broker.url
    (machine.root / "pay.py").write_text(SCRIPT)
    job = machine.root / "job.yaml"
    job.write_text(
        f"targets: [{{url: '{site.url}/'}}]\nsessions: 6\nload: {{vus: 6}}\nplatforms: [{PLATFORM}]\n"
        "script: {file: pay.py}\n"
    )
    stub = StubExecutor(0.0, platforms=[PLATFORM])
    plain = Runner(RunnerConfig(data_dir=machine.root / "plain", nats=url, name="plain", slots=3), stub)
    async with (
        asyncio.TaskGroup() as group,
        Orchestrator(OrchestratorConfig(nats=url, port=0, name="one", anonymous="admin")) as orchestrator,
        Client(orchestrator.url) as client,
    ):
        group.create_task(plain.run())
        await plain.registered.wait()
        document = await job_document.read(str(job), {})
        id = (await client.submit(document, key=None, source="cli")).job.id

        async def waits() -> bool:
            return (await client.job(id)).job.waiting_for == [f"{PLATFORM} (with --allow-scripts)"]

        async def finished() -> bool:
            return (await client.job(id)).job.state == "finished"

        await eventually(waits, 10)
        start = ("start", "--nats", url, "--name", "scripted", "--browser", "chromium", "--slots", "3")
        data = ("--data-dir", str(machine.root / "scripted"), "--allow-scripts")
        async with machine.running(*start, *data, module=RUNNER) as scripted:
            await eventually(finished, 40, interval=0.1)
            done = (await client.job(id)).progress
            assert done is not None
            counts = done.counts
            assert (counts.planned, counts.ok, counts.failed) == (6, 5, 1), done
            # Nobody lost a lease meanwhile: no attempt was made twice.
            assert (counts.retried, counts.superseded) == (0, 0)
            assert done.errors == {"script_failed": 1}
            rows = (await client.sessions(id)).items
            assert {r.runner for r in rows} == {"scripted"}
            (failed,) = [r for r in rows if r.error is not None]
            assert failed.session == 2
            assert failed.error is not None
            assert failed.error.detail.startswith("pay.py line 8: it held the runner for more than 3 s")
            assert (await client.audit(id)).agrees
            scripted.signal(signal.SIGTERM)
            assert await scripted.ended(20) == 0
        assert stub.events == []
        plain.drain()
    await machine.empty()
