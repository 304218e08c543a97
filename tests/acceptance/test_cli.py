"""The commands, as somebody types them, against one running `tb up`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from typer.core import TyperGroup
from typer.main import get_command

from broker_config.api import JobView
from cli import tb, tb_runner
from cli.client import Client
from tests.support.site import Site
from tests.support.waiting import eventually

from .commands import Commands
from .machine import RUNNER, TB, Machine, Result, offered

NOBODY = "http://127.0.0.1:9"  # the port "discard", on which nobody listens


class House(NamedTuple):
    """A `tb up`; `tb` is told of it by TB_SERVER."""

    machine: Machine
    server: str

    async def tb(self, *arguments: str, **options: Any) -> Result:
        return await self.machine.tb(*arguments, **({"TB_SERVER": self.server} | options))

    async def submit(self, *arguments: str) -> str:
        """The id of the new job."""
        result = await self.tb("jobs", "submit", *arguments)
        assert result.code == 0, result.err
        return result.out.strip()


@pytest_asyncio.fixture(scope="module")
async def house(
    tmp_path_factory: pytest.TempPathFactory, bytecode: Path, forked: Commands
) -> AsyncIterator[House]:
    machine = Machine(tmp_path_factory.mktemp("house") / "machine", bytecode, forked)
    ports = ("--port", "0", "--nats-port", "0")
    data = str(machine.root / "jobs")
    async with machine.running(
        "up",
        "--data-dir",
        data,
        *ports,
        "--browser",
        "chromium",
        "--slots",
        "2",
        TB_GRACE="3",
        TB_ANONYMOUS="admin",
    ) as up:
        house = House(machine, await up.said("TrafficBuster serves"))

        await eventually(lambda: offered(house.server), 20, what="a runner is online", interval=0.1)
        yield house
        up.signal(signal.SIGTERM)
        assert await up.ended(15) == 0
    await machine.empty()


def commands(group: TyperGroup) -> Iterator[tuple[str, ...]]:
    """The words of each command and group below."""
    yield ()
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from ((name, *rest) for rest in commands(command))
        else:
            yield (name,)


def in_words(result: Result, code: int, *texts: str) -> None:
    assert result.code == code, result
    assert result.out == ""
    assert "Traceback" not in result.err
    for text in texts:
        assert text in result.err


async def test_every_command_has_help(house: House) -> None:
    two_at_once = asyncio.Semaphore(2)

    async def check(module: str, words: tuple[str, ...]) -> None:
        async with two_at_once:
            result = await house.machine.tb(*words, "--help", module=module)
        assert (result.code, result.err) == (0, ""), words
        assert "Usage:" in result.out
        assert len(result.out.splitlines()) > 5

    asked = []
    for module, app in ((TB, tb.app), (RUNNER, tb_runner.app)):
        group = get_command(app)
        assert isinstance(group, TyperGroup)
        asked += [(module, words) for words in commands(group)]
    assert (TB, ("jobs", "submit")) in asked
    await asyncio.gather(*(check(*one) for one in asked))


async def test_usage_errors(house: House) -> None:
    results = await asyncio.gather(
        house.tb("jobs", "submit", "--session", "3"),
        house.tb("jobs", "nothing"),
        house.tb("jobs", "submit"),
        house.tb("jobs", "submit", "--url", "http://127.0.0.1/", "--sessions", "many"),
        house.tb("jobs", "show", "j000000000none"),
        house.tb("jobs", "list", TB_SERVER="nonsense"),
        house.tb("--log-level", "loud", "platforms"),
        house.tb("start", "--slots", "-1", module=RUNNER),
    )
    said = ("--sessions", "nothing", "--url", "--sessions", "j000000000none", "nonsense", "loud", "--slots")
    for result, text in zip(results, said, strict=True):
        in_words(result, 2, text)


async def test_errors_of_a_spec_name_file_and_place(house: House, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("targets: [{url: 'ftp://127.0.0.1/'}]\nsessions: 3\nplatforms: [linux-lynx]\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("targets: [\n")
    unknown = tmp_path / "unknown.toml"
    unknown.write_text("sesions = 3\n[[targets]]\nurl = 'http://127.0.0.1/'\n")
    results = await asyncio.gather(
        *(house.tb("jobs", "submit", str(f)) for f in (wrong, broken, unknown, tmp_path / "missing.yaml"))
    )
    in_words(results[0], 2, "wrong.yaml", "targets[0].url", "ftp", "linux-lynx", "2 things are wrong")
    in_words(results[1], 2, "broken.yaml", "line 2")
    in_words(results[2], 2, "unknown.toml", "sesions", "sessions")
    in_words(results[3], 2, "missing.yaml", "No such file")
    foreign = await house.tb("jobs", "submit", "--url", "https://shop.example/", "--sessions", "1")
    in_words(foreign, 2, "https://shop.example")


async def test_a_server_that_does_not_answer(house: House) -> None:
    for command in (("platforms",), ("jobs", "watch", "j1"), ("jobs", "list", "--json")):
        in_words(await house.tb(*command, TB_SERVER=NOBODY), 4, f"no orchestrator answers at {NOBODY}")


async def test_settings_come_from_flag_variable_and_file(house: House, tmp_path: Path) -> None:
    here, nowhere = tmp_path / "here.toml", tmp_path / "nowhere.toml"
    here.write_text(f"server = '{house.server}'\n")
    nowhere.write_text(f"server = '{NOBODY}'\n")
    run = house.machine.tb
    assert (await run("--config", str(here), "platforms")).code == 0
    assert (await run("platforms", TB_CONFIG=str(here))).code == 0
    assert (await run("platforms", TB_CONFIG=str(nowhere))).code == 4
    assert (await run("platforms", TB_CONFIG=str(nowhere), TB_SERVER=house.server)).code == 0
    assert (await run("--server", NOBODY, "platforms", TB_SERVER=house.server)).code == 4
    nowhere.write_text("serverr = 1\n")
    in_words(await run("platforms", TB_CONFIG=str(nowhere)), 2, "serverr", "did you mean server?")


async def test_what_is_printed_can_be_piped(house: House, site: Site) -> None:
    document = {"targets": [{"url": f"{site.url}/"}], "sessions": 2, "behaviour": {"dwell": "0s"}}
    watched = await house.tb(
        "jobs", "submit", "-", "--watch", "--json", "--idempotency-key", "twice", stdin=json.dumps(document)
    )
    assert (watched.code, watched.row["verdict"], watched.row["counts"]["ok"]) == (0, "passed", 2), (
        watched.err
    )
    assert f"job {watched.row['job']}" in watched.err
    again = await house.tb(
        "jobs", "submit", "-", "--json", "--idempotency-key", "twice", stdin=json.dumps(document)
    )
    assert again.row["job"]["id"] == watched.row["job"]
    sessions = await house.tb("sessions", "list", watched.row["job"], "--json")
    assert [r["status"] for r in sessions.rows] == ["ok", "ok"]
    assert sessions.err == ""
    (runner,) = (await house.tb("runners", "list", "--json")).rows
    assert (await house.tb("runners", "show", runner["id"], "--json")).row["id"] == runner["id"]
    schema = await house.tb("jobs", "schema")
    assert {"targets", "sessions", "load"} <= set(json.loads(schema.out)["$defs"]["JobSpec"]["properties"])
    plain = await house.tb("jobs", "list")
    assert watched.row["job"] in plain.out
    assert "\x1b" not in plain.out


@pytest.mark.parametrize("command", [("jobs", "schema"), ("jobs", "list", "--json"), ("runners", "list")])
async def test_a_closed_pipe_is_no_error(house: House, command: tuple[str, ...]) -> None:
    await house.tb("jobs", "list")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", TB, *command),
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
            env=house.machine.environ(TB_SERVER=house.server),
        )
    finally:
        os.close(writing)
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_completion(house: House) -> None:
    program = Path(sys.executable).parent / "tb"
    completing = {"COMP_WORDS": "tb jobs pa", "COMP_CWORD": "2"}
    for task, more, text in (
        ("source_bash", {}, "complete -o default -F _tb_completion tb"),
        ("complete_bash", completing, "pause"),
    ):
        process = await asyncio.create_subprocess_exec(
            str(program),
            stdout=asyncio.subprocess.PIPE,
            env=house.machine.environ(_TB_COMPLETE=task, **more),
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert text in out.decode()


async def test_the_exit_code_is_that_of_the_verdict(house: House, site: Site) -> None:
    job = ("--url", f"{site.url}/", "--sessions", "2", "--vus", "2", "--dwell", "0s", "--watch")
    missed = await house.tb("jobs", "submit", *job, "--threshold", "load.p95 < 0.01ms")
    assert missed.code == 1
    assert "does not hold" in missed.out
    assert "2 sessions: 2 ok, 0 failed" in missed.out


async def test_retry_and_audit(house: House, site: Site) -> None:
    job = await house.submit(
        *("--url", f"{site.url}/", "--url", f"{site.url}/broken"),
        *("--sessions", "4", "--vus", "2", "--dwell", "0s"),
    )
    assert (await house.tb("jobs", "watch", job)).code == 0
    failed = (await house.tb("sessions", "list", job, "--status", "failed", "--json")).rows
    assert [(r["target"], r["error"]["kind"]) for r in failed] == [(f"{site.url}/broken", "http_status")] * 2
    audit = await house.tb("jobs", "audit", job)
    assert audit.code == 0
    assert "4 sessions: 2 ok, 2 failed" in audit.out
    retried = await house.tb("jobs", "retry", job, "--watch", "--json", within=30)
    assert retried.row["counts"]["planned"] == 2
    assert retried.row["job"] != job


async def test_pause_resume_and_cancel_are_effective_within_a_second(house: House, site: Site) -> None:
    job = await house.submit("--url", f"{site.url}/held", "--sessions", "8", "--vus", "1", "--dwell", "0s")
    await site.asked("/held", 1, 20)
    async with Client(house.server) as client:

        async def becomes(what: str, test: Any, within: float = 1.0) -> JobView:
            async def answer() -> JobView | None:
                view = await client.job(job)
                return view if test(view) else None

            view = await eventually(answer, within, what=what)
            assert view is not None
            return view

        paused = await house.tb("jobs", "pause", job)
        assert paused.code == 0
        await becomes("paused", lambda v: v.job.state == "paused")
        site.release.set()  # what runs goes on to its end …
        await becomes("the running session ends", lambda v: v.progress.counts.ok == 1, 10)
        assert site.hits["/held"] == 1  # … and nothing else began
        site.release.clear()

        assert (await house.tb("jobs", "resume", job)).code == 0
        await becomes("running again", lambda v: v.job.state == "running")
        await site.asked("/held", 2)

        async with house.machine.running("jobs", "watch", job, TB_SERVER=house.server) as watching:
            await watching.said("running 1/8")
            assert (await house.tb("jobs", "cancel", job)).code == 0
            done = await becomes("cancelled", lambda v: v.job.state == "finished")
            assert await watching.ended(2) == 3
        counts = done.progress.counts
        assert (counts.ok, counts.cancelled, counts.running, done.job.verdict) == (1, 7, 0, "aborted")
        in_words(await house.tb("jobs", "pause", job), 2, "finished")
        await eventually(lambda: _idle(client), 1.0, what="the slots are free again")


async def _idle(client: Client) -> bool:
    return all(r.busy == 0 for r in (await client.runners()).items)
