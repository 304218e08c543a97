"""From a failed session in a real browser to a file: orchestrator, runner, REST and the command line."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from nats.aio.client import Client as Nats

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import JobNotFound, NameRefused
from broker_config.messages import SessionRecord
from broker_config.platform import this_system
from broker_config.subjects import session_records_of
from cli import artifacts as commands
from cli.client import Client
from orchestrator.bus.jet import Jet
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from runner.browser.executor import BrowserExecutor
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.secret_site import COOKIES, secret_site
from tests.support.waiting import eventually

PASSWORD = "c4nary-password"


class Done(NamedTuple):
    """A finished job of three sessions that failed, of whose artifacts 7 had room."""

    server: str
    job: str
    nats: str
    executor: BrowserExecutor


@pytest_asyncio.fixture(scope="module")
async def done(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Done]:
    folder = tmp_path_factory.mktemp("artifacts")
    executor = BrowserExecutor(["chromium"])
    async with (
        EmbeddedServer(folder / "broker", sync_always=False) as broker,
        Orchestrator(OrchestratorConfig(nats=broker.url, port=0, anonymous="admin")) as orchestrator,
        secret_site() as site,
        asyncio.TaskGroup() as group,
    ):
        runner = Runner(
            RunnerConfig(data_dir=folder / "runner", nats=broker.url, name="r1", slots=2, adaptive=False),
            executor,
        )
        group.create_task(runner.run())
        spec: dict[str, Any] = {
            "targets": [{"url": f"{site.url}/login"}],
            "sessions": 3,
            "platforms": [f"{this_system()}-chromium"],
            "artifacts": {"keep": ["screenshot", "har", "console"], "max_count": 7, "ttl": "2h"},
            "journey": {
                "steps": [
                    {"fill": {"label": "Password", "value": PASSWORD}},
                    {"click": {"role": "button", "name": "Go"}},
                ]
            },
        }
        async with Client(orchestrator.url) as client:
            job = (await client.submit(spec, key=None, source="api")).job.id

            async def finished() -> bool:
                return (await client.job(job)).job.state == "finished"

            await eventually(finished, 40, what="the job finished", interval=0.1)
        yield Done(orchestrator.url, job, broker.url, executor)
        runner.drain()


@pytest_asyncio.fixture
async def nc(done: Done) -> AsyncIterator[Nats]:
    async with connected(done.nats, name="test") as nc:
        yield nc


async def test_the_records_name_what_is_there(done: Done, nc: Nats) -> None:
    stored = await Jet(nc).read_all("PROGRESS", session_records_of(done.job))
    records = [json.loads(s.data) for s in stored]
    assert len(records) == 3
    named = sorted(a["name"] for r in records for a in r["artifacts"])
    async with Client(done.server) as client:
        page = await client.artifacts(done.job)
    assert [a.name for a in page.items] == named
    assert len(named) == 7
    assert sum(r.get("artifacts_left_out", 0) for r in records) == 2
    assert set(records[0]) <= set(SessionRecord.__struct_fields__)


async def test_no_secret_is_anywhere_in_the_broker(done: Done, nc: Nats) -> None:
    """The spec of the job alone holds the password: its owner wrote it down there."""
    secrets = [s.encode() for s in (PASSWORD, *COOKIES)]
    secrets += [base64.b64encode(s).rstrip(b"=") for s in secrets]
    seen = 0
    for stream in ("OBJ_artifacts", "PROGRESS", "QUARANTINE", "KV_artifact_quotas"):
        for message in await Jet(nc).read_all(stream, ">"):
            seen += 1
            assert not [s for s in secrets if s in message.data], (stream, message.subject)
    assert seen > 15


async def test_nothing_is_left_on_the_runners_disk(done: Done) -> None:
    folder = done.executor._driver.folder
    assert folder is not None
    assert list(folder.glob("artifacts-*")) == []


async def test_content_over_http(done: Done) -> None:
    async with (
        httpx.AsyncClient(base_url=f"{done.server}/api/v1") as http,
        Client(done.server) as client,
    ):
        first = (await client.artifacts(done.job, limit=1)).items[0]
        assert first.file == "console.log"
        assert first.expires_at is not None
        types = {}
        for view in (await client.artifacts(done.job)).items:
            answer = await http.get(f"/artifacts/{view.name}")
            assert answer.status_code == 200
            assert len(answer.content) == view.bytes == int(answer.headers["content-length"])
            types[view.file] = answer.headers["content-type"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox; default-src 'none'" in answer.headers["content-security-policy"]
            assert (
                answer.headers["content-disposition"]
                == f'attachment; filename="{view.session}.{view.attempt}-{view.file}"'
            )
        assert types == {
            "console.log": "text/plain; charset=utf-8",
            "failure.jpg": "image/jpeg",
            "session.har": "application/json",
        }
        head = await http.head(f"/artifacts/{first.name}")
        assert (head.status_code, head.content) == (200, b"")
        for name in (f"{done.job}/9.1/failure.jpg", "x", "..%2f..%2fjobs", f"{done.job}/1.1/a%0d%0ab"):
            answer = await http.get(f"/artifacts/{name}")
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


async def test_pages_of_the_list(done: Done) -> None:
    async with Client(done.server) as client:
        names, cursor = [], None
        while True:
            page = await client.artifacts(done.job, limit=3, cursor=cursor)
            names += [a.name for a in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert names == [a.name for a in (await client.artifacts(done.job)).items]
        with pytest.raises(JobNotFound):
            await client.artifacts("nobody")
    async with httpx.AsyncClient(base_url=f"{done.server}/api/v1") as http:
        answer = await http.get(f"/jobs/{done.job}/artifacts", params={"cursor": "abc"})
        assert answer.status_code == 422


async def test_the_command_line(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, job = done.server, done.job
    await commands.show_list(Client(server), job, session=1, limit=10, json=False)
    shown = capsys.readouterr().out
    assert "1.1/failure.jpg" in shown
    assert "screenshot" in shown
    assert "2.1/" not in shown
    await commands.get(Client(server), job, "1.1/failure.jpg", session=None, output=tmp_path, json=True)
    path = Path(json.loads(capsys.readouterr().out)["path"])
    assert path == tmp_path / "1.1" / "failure.jpg"
    assert path.read_bytes()[:3] == b"\xff\xd8\xff"
    await commands.get(Client(server), job, None, session=None, output=tmp_path, json=False)
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert len(files) == 7
    assert not [f for f in files if f.endswith(".part")]
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    await commands.open_one(Client(server), job, f"{job}/1.1/failure.jpg", output=tmp_path)
    assert str(path) in capsys.readouterr().err
    with pytest.raises(JobNotFound, match="its time is over"):
        await commands.get(Client(server), job, "9.1/x.jpg", session=None, output=tmp_path, json=False)
    assert not (tmp_path / "9.1" / "x.jpg").exists()
    with pytest.raises(NameRefused, match=r"17\.1/failure\.jpg"):
        await commands.get(Client(server), job, "../../x", session=None, output=tmp_path, json=False)


async def test_a_program_shows_it_where_there_is_a_display(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = tmp_path / "bin" / "xdg-open"
    viewer.parent.mkdir()
    viewer.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/shown\n')
    viewer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{viewer.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":99")
    code = await commands.open_one(Client(done.server), done.job, "1.1/failure.jpg", output=tmp_path)
    assert code == 0
    assert (tmp_path / "shown").read_text().strip() == str(tmp_path / "1.1" / "failure.jpg")
