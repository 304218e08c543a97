"""What sessions in real browsers leave behind, and that no secret is in it."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import pytest_asyncio

from broker_config import document
from broker_config.artifacts import KINDS, Artifacts
from broker_config.journey import Journey
from broker_config.messages import Dispatch
from runner.browser.executor import BrowserExecutor
from runner.browser.recording import Recording
from runner.core.outcome import Artifact, Outcome
from tests.support.secret_site import COOKIES, TOKEN, SecretSite, secret_site
from tests.support.sessions import a_session, silent
from tests.support.site import open_site
from tests.support.waiting import eventually

PASSWORD, NAME, PIN = "pa55 wörd&x", "ann@example.test", "73"
SECRETS = (*COOKIES, TOKEN, PASSWORD, NAME, "abcdefghij0123456789", "key-54321", "typed-by-script-66")
STEPS: list[dict[str, Any]] = [
    {"fill": {"label": "Name", "value": "${user.mail}"}},
    {"fill": {"label": "Password", "value": PASSWORD}},
    {"fill": {"label": "Pin", "value": PIN}},
    {"screenshot": "The form"},
    {"click": {"role": "button", "name": "Go"}},
]


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[SecretSite]:
    async with secret_site() as site:
        yield site


def a_login(site: SecretSite, artifacts: Artifacts, **more: Any) -> Dispatch:
    journey = document.read({"steps": STEPS, "timeout": "5s"}, Journey)
    return a_session(
        f"{site.url}/login", journey=journey, variables={"user.mail": NAME}, artifacts=artifacts, **more
    )


def folders(executor: BrowserExecutor) -> list[Path]:
    """What is on disk of recordings."""
    scratch = executor._driver.folder
    assert scratch is not None
    return list(scratch.glob("artifacts-*"))


def taken_away(executor: BrowserExecutor, outcome: Outcome) -> dict[str, bytes]:
    """The files, which are removed as whoever stores them does; nothing else is left on disk."""
    found = {a.name: a.path.read_bytes() for a in outcome.artifacts}
    on_disk = {p for folder in folders(executor) for p in folder.rglob("*")}
    assert on_disk == {a.path for a in outcome.artifacts}
    for artifact in outcome.artifacts:
        artifact.path.unlink()
    for folder in folders(executor):
        folder.rmdir()
    return found


def all_text(files: dict[str, bytes], tmp_path: Path) -> str:
    """All that can be read in files, and in the files of traces."""
    parts = []
    for name, data in files.items():
        parts.append(data)
        if name.endswith(".zip"):
            (tmp_path / name).write_bytes(data)
            with zipfile.ZipFile(tmp_path / name) as trace:
                parts += [trace.read(entry) for entry in trace.namelist()]
    return b"\n".join(parts).decode("utf-8", "replace")


def kinds(artifacts: list[Artifact]) -> list[str]:
    return [a.kind for a in artifacts]


async def test_a_failed_session_leaves_picture_har_and_console(
    executor: BrowserExecutor, site: SecretSite
) -> None:
    wanted = Artifacts(keep=["har", "trace", "screenshot", "console"])
    outcome = await executor.run(a_login(site, wanted), silent)
    assert outcome.status == "failed"
    assert kinds(outcome.artifacts) == ["screenshot", "screenshot", "har", "console"]
    files = taken_away(executor, outcome)
    assert list(files) == ["failure.jpg", "shot-1-The-form.jpg", "session.har", "console.log"]
    assert files["failure.jpg"][:3] == b"\xff\xd8\xff"
    entries = json.loads(files["session.har"])["log"]["entries"]
    asked = [(e["request"]["method"], e["request"]["url"].partition("?")[0]) for e in entries]
    assert asked == [("GET", f"{site.url}/login"), ("POST", f"{site.url}/api"), ("POST", f"{site.url}/in")]
    assert [e["response"]["status"] for e in entries] == [200, 200, 500]
    assert "log       cookies" in files["console.log"].decode()
    # The site got the real values.
    sent = quote_plus(PASSWORD, encoding="cp1252")  # the page names no encoding
    assert site.bodies["/in"] == f"user=ann%40example.test&pw={sent}&code={PIN}"


async def test_an_ok_session_leaves_nothing(executor: BrowserExecutor, site: SecretSite) -> None:
    site.answer = 200
    outcome = await executor.run(a_login(site, Artifacts(keep=list(KINDS), when="failure")), silent)
    assert (outcome.status, outcome.artifacts) == ("ok", [])
    assert folders(executor) == []


async def test_without_artifacts_nothing_is_recorded(executor: BrowserExecutor, site: SecretSite) -> None:
    outcome = await executor.run(a_session(f"{site.url}/in"), silent)
    assert (outcome.status, outcome.artifacts, folders(executor)) == ("failed", [], [])


async def test_a_second_attempt_that_fails_leaves_its_trace(
    executor: BrowserExecutor, site: SecretSite
) -> None:
    outcome = await executor.run(a_login(site, Artifacts(keep=["trace"]), attempt=2), silent)
    assert kinds(outcome.artifacts) == ["trace"]
    taken_away(executor, outcome)


async def test_all_kinds_and_no_secret_in_them(
    executor: BrowserExecutor, site: SecretSite, tmp_path: Path
) -> None:
    site.answer = 200
    said: list[tuple[str, str]] = []
    wanted = Artifacts(keep=list(KINDS), when="always")
    outcome = await executor.run(a_login(site, wanted), lambda *what: said.append(what))
    assert outcome.status == "ok"
    assert kinds(outcome.artifacts) == ["screenshot", "screenshot", "har", "console", "trace", "video"]
    assert not [text for _, text in said if text.startswith("no ")]
    files = taken_away(executor, outcome)
    assert "end.jpg" in files
    assert files["video.webm"][:4] == b"\x1a\x45\xdf\xa3"
    text = all_text(files, tmp_path)
    written = [*SECRETS, quote_plus(PASSWORD, encoding="cp1252"), quote_plus(NAME)]
    written.append(json.dumps(PASSWORD)[1:-1])
    assert [s for s in written if s in text] == []
    # Too short to be looked for everywhere: as a field, and where the trace says what was filled in.
    assert f"code={PIN}" not in text
    assert f'"{PIN}"' not in text
    assert f'\\"{PIN}\\"' not in text
    with zipfile.ZipFile(tmp_path / "trace.zip") as trace:
        names = trace.namelist()
        lines = [json.loads(line) for line in trace.read("trace.trace").splitlines() if line]
    assert not [n for n in names if n.endswith(".stacks")]
    assert [n for n in names if n.endswith((".jpeg", ".jpg"))]
    filled = [line["params"] for line in lines if line.get("method") == "fill"]
    assert [f["value"] for f in filled] == ["***"] * 3


async def test_unmasked_they_are_there(executor: BrowserExecutor, site: SecretSite, tmp_path: Path) -> None:
    site.answer = 200
    wanted = Artifacts(keep=["har", "console", "trace"], when="always", mask=False)
    outcome = await executor.run(a_login(site, wanted), silent)
    files = taken_away(executor, outcome)
    text = all_text(files, tmp_path)
    assert [s for s in SECRETS if s not in text] == []
    assert COOKIES[0] in files["session.har"].decode()
    assert PASSWORD in files["console.log"].decode()


@pytest.mark.parametrize(("mask", "before"), [(True, 0), (True, 150), (True, 250), (False, 0)])
async def test_errors_and_log_do_not_tell_what_was_filled_in(
    executor: BrowserExecutor, site: SecretSite, mask: bool, before: int
) -> None:
    """Playwright tells what is in a field; the text is cut, at a place that may be within the value."""
    steps: list[dict[str, Any]] = [
        {"fill": {"label": "Name", "value": "${user.mail}"}},
        {"fill": {"label": "Password", "value": "x" * before + PASSWORD}},
        {"expect": {"label": "Password", "value": "another"}, "timeout": "50ms"},
    ]
    said: list[str] = []
    dispatch = a_session(
        f"{site.url}/login",
        journey=document.read({"steps": steps}, Journey),
        variables={"user.mail": NAME},
        artifacts=Artifacts(keep=[], mask=mask),
    )
    outcome = await executor.run(dispatch, lambda _, text: said.append(text))
    assert outcome.error is not None
    assert outcome.error.kind == "step_failed"
    told = "\n".join([outcome.error.detail, *(s.error for s in outcome.steps), *said])
    assert "Actual value: ***" in told
    assert PASSWORD[:4] not in told
    assert "xxxx" not in told


async def test_pictures_do_not_show_what_was_filled_in(
    executor: BrowserExecutor, site: SecretSite, monkeypatch: Any
) -> None:
    """The same form with two names gives the same picture, but only where it is masked."""

    async def picture(name: str, mask: bool) -> bytes:
        dispatch = a_login(site, Artifacts(keep=["screenshot"], mask=mask))
        dispatch.variables["user.mail"] = name
        outcome = await executor.run(dispatch, silent)
        return taken_away(executor, outcome)["shot-1-The-form.jpg"]

    assert await picture("ann", True) == await picture("bob", True)
    assert await picture("ann", False) != await picture("bob", False)


@pytest.mark.parametrize(("mask", "shown"), [(True, "disc"), (False, "none")])
async def test_what_is_typed_shows_as_dots_in_traces_and_videos(
    executor: BrowserExecutor, site: SecretSite, mask: bool, shown: str
) -> None:
    dispatch = a_login(site, Artifacts(keep=["trace"], when="always", mask=mask))
    (pool,) = executor._pools.values()
    async with pool.lease() as running:
        context = await running.browser.new_context()
        with Recording(dispatch, executor._driver.folder, silent) as recording:
            await recording.begin(context)
            page = await context.new_page()
            await page.goto("data:text/html,<input name=user>")
            style = "getComputedStyle(document.querySelector('[name=user]')).webkitTextSecurity"
            assert await page.evaluate(style) == shown
        await context.close()


async def test_a_hung_page_costs_the_picture_and_not_the_session(executor: BrowserExecutor) -> None:
    said: list[str] = []
    async with open_site() as site:
        dispatch = a_session(
            f"{site.url}/hang-at-once",
            navigation_limit=0.7,
            artifacts=Artifacts(keep=["screenshot", "har"]),
        )
        outcome = await executor.run(dispatch, lambda _, text: said.append(text))
    assert outcome.error is not None
    assert outcome.error.kind == "navigation_timeout"
    # Waiting for the picture is no part of the session.
    assert 700 < outcome.duration_ms < 3_000
    assert kinds(outcome.artifacts) == ["har"]
    assert [text for text in said if text.startswith("no screenshot")]
    taken_away(executor, outcome)


async def test_a_cancelled_session_leaves_nothing_on_disk(executor: BrowserExecutor) -> None:
    async with open_site() as site:
        wanted = Artifacts(keep=list(KINDS), when="always")
        task = asyncio.create_task(executor.run(a_session(f"{site.url}/held", artifacts=wanted), silent))
        await site.asked("/held")
        assert len(folders(executor)) == 1
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
    assert folders(executor) == []


async def test_cancelled_while_the_pictures_are_taken(executor: BrowserExecutor) -> None:
    async with open_site() as site:
        wanted = Artifacts(keep=["screenshot", "trace"], when="always")
        dispatch = a_session(f"{site.url}/hang", artifacts=wanted, session_limit=0.7)
        before = asyncio.all_tasks()
        task = asyncio.create_task(executor.run(dispatch, silent))
        await site.asked("/hang")

        def capturing() -> bool:
            return any("_capture" in str(t.get_coro()) for t in asyncio.all_tasks() - before)

        await eventually(capturing, what="pictures being taken")
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await eventually(lambda: not capturing(), what="nothing goes on")
    assert folders(executor) == []


async def test_firefox_leaves_the_same(tmp_path: Path, site: SecretSite) -> None:
    site.answer = 200
    executor = BrowserExecutor(["firefox"])
    try:
        await executor.start()
        wanted = Artifacts(keep=["screenshot", "har", "console"], when="always")
        outcome = await executor.run(a_login(site, wanted, browser="firefox"), silent)
        assert outcome.status == "ok"
        assert set(kinds(outcome.artifacts)) == set(wanted.keep)
        text = all_text(taken_away(executor, outcome), tmp_path)
        assert [s for s in SECRETS if s in text] == []
    finally:
        await executor.close()
