"""The whole orchestrator: an origin is named, granted, proved and used; each session says whom to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import SettingsError, SpecError
from broker_config.messages import Dispatch
from broker_config.target_proof import WELL_KNOWN
from cli.target_client import TargetClient
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.stub_executor import StubExecutor
from tests.support.target_parts import proving_site
from tests.support.waiting import eventually

CONTACT = "https://example.com/traffic"


@asynccontextmanager
async def served(url: str, folder: Path, executor: StubExecutor) -> AsyncIterator[TargetClient]:
    """An orchestrator that others reach too, so that loopback is nobody's own; and a runner."""
    config = OrchestratorConfig(
        nats=url, port=0, anonymous="admin", contact=CONTACT, runner_nats=["nats://0.0.0.0:4222"]
    )
    runner = Runner(RunnerConfig(data_dir=folder, nats=url, name="r1", slots=2), executor)
    async with (
        Orchestrator(config) as orchestrator,
        TargetClient(orchestrator.url) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield client
        runner.drain()


async def test_an_origin_is_named_granted_proved_and_used(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    sent: list[Dispatch] = []
    executor = StubExecutor(0.0, play=sent.append)  # type: ignore[arg-type]
    async with proving_site() as site, served(own_broker.url, tmp_path, executor) as client:
        origin = f"http://localhost:{site.port}"
        document = {"targets": [{"url": f"{origin}/"}], "sessions": 2}
        with pytest.raises(SpecError, match="tb targets add"):
            await client.submit(document, key=None, source="api")
        made = await client.add_target("default", origin)
        site.pages[WELL_KNOWN] = (200, "", made.put[0].what.encode())
        refused = await client.verify_target("default", origin, "file")
        assert "takes the grant of an admin" in refused.detail
        assert not site.heads
        await client.grant_target("default", origin, without_proof=False)
        with pytest.raises(SpecError, match="not proved yet"):
            await client.submit(document, key=None, source="api")
        assert (await client.verify_target("default", origin, None)).state == "verified"
        assert CONTACT in site.heads[0]
        job = (await client.submit(document, key=None, source="api")).job

        async def finished() -> bool:
            return (await client.job(job.id)).job.state == "finished"

        await eventually(finished, 15, what="the job is finished")
        assert (await client.job(job.id)).job.verdict == "passed"
        grants = [d.grant.read() for d in sent if d.grant is not None]
        assert [(g.origins, g.private_hosts) for g in grants] == [([origin], ["localhost"])] * 2
        assert executor.contact == CONTACT


async def test_a_contact_that_fits_no_header_is_refused(own_broker: EmbeddedServer) -> None:
    config = OrchestratorConfig(nats=own_broker.url, port=0, contact="ask (us)")
    with pytest.raises((SettingsError, ExceptionGroup), match="contact"):
        async with Orchestrator(config):
            pass
