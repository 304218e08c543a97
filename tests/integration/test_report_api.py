"""`tb jobs report` and what it asks, over a real server; sessions from a real stream."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
import pytest_asyncio
from nats.aio.client import Client as Nats

from broker_config import codec
from broker_config.api import JobDetail, SessionRow
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerUnavailable, JobNotFound, SettingsError
from broker_config.job import Job, job_key
from broker_config.messages import ConductorRecord, SessionRecord
from broker_config.report import Report
from broker_config.subjects import CONDUCTOR, session_record
from cli import job_summary, report
from cli.client import Client, ServerError
from orchestrator.bus.job_store import subject
from orchestrator.bus.session_log import SessionLog
from orchestrator.core.fold import Fold
from orchestrator.core.plan import Plan
from tests.support.backstage import backstage
from tests.support.rich_job import rich
from tests.support.web_parts import MemorySessions, Stage, stage
from tests.unit.test_cli_render import shown

RICH = rich()


class Breaking(MemorySessions):
    """The broker goes away after the first pages."""

    async def counted(self, job: str) -> AsyncIterator[list[SessionRow]]:
        yield self.rows[:100]
        raise BrokerUnavailable("the broker does not answer")


@pytest_asyncio.fixture
async def web(nc: Nats) -> AsyncIterator[Stage]:
    async with stage(nc) as it:
        it.jobs.jobs[RICH.job.id] = RICH.job
        it.jobs.checkpoints[RICH.job.id] = RICH.checkpoint
        it.sessions.rows = RICH.rows
        yield it


@pytest_asyncio.fixture
async def http(web: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{web.api}/jobs/{RICH.job.id}/") as it:
        yield it


async def test_each_format_is_what_it_says(http: httpx.AsyncClient) -> None:
    answers = {f: await http.get("report", params={"format": f}) for f in ("html", "json", "junit", "csv")}
    assert {f: (a.status_code, a.headers["content-type"].partition(";")[0]) for f, a in answers.items()} == {
        "html": (200, "text/html"),
        "json": (200, "application/json"),
        "junit": (200, "application/xml"),
        "csv": (200, "text/csv"),
    }
    assert (await http.get("report")).text.startswith("<!doctype html>")
    data = codec.decode(answers["json"].content, Report, 4 << 20)
    assert (data.job, data.counts, data.version) == (RICH.job.id, RICH.job.counts, "1.2.3")
    root = ElementTree.fromstring(answers["junit"].content)
    assert int(root.get("failures", "")) > 0
    rows = list(csv.DictReader(io.StringIO(answers["csv"].text, newline="")))
    assert Counter(r["status"] for r in rows)["failed"] == RICH.job.counts.failed


async def test_wrong_requests_are_refused_in_words(http: httpx.AsyncClient, web: Stage) -> None:
    wrong = await http.get("report", params={"format": "pdf"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["where"] == "format"
    for format in ("html", "csv", "junit"):
        missing = await http.get(f"{web.api}/jobs/nobody/report", params={"format": format})
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_the_detail_has_the_same_values(http: httpx.AsyncClient) -> None:
    detail = codec.decode((await http.get("detail")).content, JobDetail)
    assert detail.calm.keys() == RICH.report.calm.keys()
    assert detail.thresholds == RICH.report.thresholds
    assert detail.steps.keys() == {s.name for s in RICH.report.steps}
    assert RICH.checkpoint.progress is not None
    text = shown(job_summary.summary(RICH.checkpoint.progress, detail))
    assert "43 ran while their machine was short of CPU" in text
    assert text.count("without saturated") == 11
    assert "2.71%" in text
    assert "ends the job" in text


async def test_the_command_writes_a_whole_file_or_none(web: Stage, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    await report.write(Client(web.server.url), RICH.job.id, "csv", file)
    assert len(file.read_text().splitlines()) == len(RICH.rows) + 1
    file.write_text("as before")
    web.sessions.__class__ = Breaking
    with pytest.raises(ServerError):
        await report.write(Client(web.server.url), RICH.job.id, "csv", file)
    with pytest.raises(JobNotFound):
        await report.write(Client(web.server.url), "nobody", "html", file)
    assert file.read_text() == "as before"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(SettingsError, match="cannot be written"):
        await report.write(Client(web.server.url), RICH.job.id, "html", tmp_path / "no" / "such" / "x.html")


async def test_the_command_prints_it_without_a_file(
    web: Stage, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    await report.write(Client(web.server.url), RICH.job.id, "json", None)
    assert json.loads(capfdbinary.readouterr().out)["job"] == RICH.job.id


async def test_counted_sessions_are_those_of_the_fold(own_broker: EmbeddedServer) -> None:
    """Over several pages, with a range of the conductor's and records that do not count."""
    async with backstage(own_broker.url) as at:
        job = Job(id="j0pages", spec=RICH.job.spec, state="finished", submitted_at=1.0)
        plan = Plan(job.id, job.spec)
        await at.jet.publish(subject(job_key(job.id)), codec.encode(job), expected_last=0)
        fold = Fold(plan)

        async def write(
            record: SessionRecord | ConductorRecord, writer: str = "", late: bool = False
        ) -> None:
            writer = writer or (CONDUCTOR if isinstance(record, ConductorRecord) else record.runner)
            ack = await at.jet.publish(session_record(job.id, writer), codec.encode(record))
            if not late and writer != "forger":
                fold.apply(ack.seq, record)

        def ended(session: int, **more: str) -> SessionRecord:
            return SessionRecord(
                job=job.id,
                session=session,
                attempt=1,
                status="ok",
                runner=more.get("runner", "r"),
                target="x",
            )

        for session in range(1, 621):
            await write(ended(session))
        await write(ended(5))
        await write(ended(99_999))
        await write(ended(621), writer="forger")
        await write(ConductorRecord(job=job.id, sessions=[(600, 1_150)], status="cancelled", at=time.time()))
        await at.store.write_checkpoint(fold.checkpoint(1), 0)
        await write(ended(1_160), late=True)
        pages = [rows async for rows in SessionLog(at.jet, at.store).counted(job.id)]
        rows = [row for page in pages for row in page]
        assert len({r.session for r in rows}) == len(rows) == fold.done.count == 1_150
        assert Counter(r.status for r in rows) == {"ok": fold.total.ok, "cancelled": fold.total.cancelled}
        assert max(map(len, pages)) <= 500
        cancelled = next(r for r in rows if r.status == "cancelled")
        assert cancelled.target == job.spec.targets[plan.target(cancelled.session)].label
        assert cancelled.asked == plan.platform(cancelled.session)
        with pytest.raises(JobNotFound):
            [page async for page in SessionLog(at.jet, at.store).counted("nobody")]
