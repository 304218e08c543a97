"""For tests of loads: a conductor, and real runners whose browser is a timer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from broker_config.job import Job
from broker_config.messages import ConductorRecord, SessionRecord
from orchestrator.bus.auditor import Auditor
from orchestrator.core.audit import AuditReport
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.backstage import Backstage, backstage
from tests.support.front_desk import FrontDesk, front_desk
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


class LoadScene:
    """One broker, one orchestrator (`stage`), and whoever answers registrations."""

    def __init__(self, stage: Backstage, desk: FrontDesk, folder: Path) -> None:
        self.stage = stage
        self.desk = desk
        self.folder = folder

    @asynccontextmanager
    async def runner(self, stub: StubExecutor, *, name: str = "r1", slots: int = 4) -> AsyncIterator[Runner]:
        """A runner that the conductor knows of; drained at the end."""
        url = self.desk.nc.connected_url
        assert url is not None
        config = RunnerConfig(
            data_dir=self.folder / name,
            nats=url.geturl(),
            name=name,
            slots=slots,
            saturation_busy=2.0,
            grace_s=1.0,
            flush_s=2.0,
        )
        runner = Runner(config, stub)
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            group.create_task(runner.run())
            await eventually(
                lambda: any(r.id == name for r in self.stage.fleet.roster.online()), what="a runner online"
            )
            yield runner
            runner.drain()

    async def submit(self, load: dict[str, object], **spec: object) -> Job:
        return await self.stage.submit(spec.pop("sessions", None), load=load, **spec)  # type: ignore[arg-type]

    async def audit(self, job: str) -> AuditReport:
        """The audit of the job, which must agree."""
        report = await Auditor(self.stage.jet, self.stage.store).audit(job)
        assert report.agrees, report.findings
        return report

    async def owed(self, job: str) -> list[ConductorRecord]:
        return await self.stage.owed(job)

    async def ran(self, job: str) -> list[SessionRecord]:
        """Records of runners, by start."""
        return sorted(await self.stage.records(job), key=lambda r: r.started_at)

    async def hand_over(self, other: Backstage) -> None:
        """Whoever leads loses the key, as if it had been silent."""
        stages = (self.stage, other)
        await eventually(lambda: any(s.leadership.leading for s in stages), 5, what="a leader")
        leader = next(s for s in stages if s.leadership.leading)
        entry = await leader.jet.get("KV_leadership", "$KV.leadership.conductor")
        assert entry is not None
        await leader.jet.publish_marker("$KV.leadership.conductor", entry.revision)


@asynccontextmanager
async def load_scene(
    url: str, folder: Path, platforms: Sequence[str] = ("linux-chromium",)
) -> AsyncIterator[LoadScene]:
    async with front_desk(url, platforms=platforms) as desk, backstage(url) as stage:
        yield LoadScene(stage, desk, folder)


def at_once(records: Sequence[SessionRecord], at: float) -> int:
    """How many of them ran at that moment."""
    return sum(r.started_at <= at < r.ended_at for r in records)
