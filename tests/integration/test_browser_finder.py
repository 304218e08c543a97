"""Browsers are found where they are, installing is bounded, and failure says how to mend it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import playwright
import psutil
import pytest

from broker_config.errors import BrowserNotFound, BrowserNotStarted, SettingsError
from runner.browser.executor import BrowserExecutor
from runner.browser.finder import installed
from runner.browser.found import Wanted, parse_wanted
from runner.browser.installer import ensure, run_command
from tests.support.waiting import eventually

SHELL = "/usr/lib/chromium/chromium-headless-shell"


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"], **more}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chromium", Wanted("chromium")),
        ("firefox=/opt/ff/run", Wanted("firefox", "/opt/ff/run")),
        (SHELL, Wanted("chromium", SHELL)),
        ("/opt/google/chrome/chrome", Wanted("chrome", "/opt/google/chrome/chrome")),
        (
            "/x/chromium-1248/chrome-linux64/chrome",
            Wanted("chromium", "/x/chromium-1248/chrome-linux64/chrome"),
        ),
        (r"C:\Edge\msedge.exe", Wanted("msedge", r"C:\Edge\msedge.exe")),
        ("/usr/lib/firefox-esr/firefox-esr", Wanted("firefox", "/usr/lib/firefox-esr/firefox-esr")),
    ],
)
def test_browsers_are_named_or_shown(text: str, expected: Wanted) -> None:
    assert parse_wanted(text) == expected


@pytest.mark.parametrize("text", ["opera", "", "opera=/x/y", "chromium=", "/usr/bin/mystery"])
def test_what_is_no_browser_is_refused_in_words(text: str) -> None:
    with pytest.raises(SettingsError, match="browser"):
        parse_wanted(text)


def test_the_system_is_searched_the_headless_shell_first(tmp_path: Path) -> None:
    assert installed(environ=environ(tmp_path), root=tmp_path) == []
    program(tmp_path / "opt/google/chrome/chrome")
    program(tmp_path / "usr/lib/firefox-esr/firefox-esr")
    full = program(tmp_path / "usr/lib/chromium/chromium")
    first = installed(environ=environ(tmp_path), root=tmp_path)
    assert [(f.browser, f.channel) for f in first] == [
        ("chromium", None),
        ("chrome", "chrome"),
        ("firefox", "moz-firefox"),
    ]
    assert (first[0].path, first[0].headless_shell) == (str(full), False)
    shell = program(tmp_path / "usr/lib/chromium/chromium-headless-shell")
    (found,) = installed(["chromium"], environ=environ(tmp_path), root=tmp_path)
    assert (found.path, found.headless_shell) == (str(shell), True)
    assert installed(["webkit"], environ=environ(tmp_path), root=tmp_path) == []


def test_playwrights_own_come_before_the_systems(tmp_path: Path) -> None:
    listed = json.loads(
        (Path(playwright.__file__).parent / "driver" / "package" / "browsers.json").read_text()
    )["browsers"]
    revisions = {b["name"]: b["revision"] for b in listed}
    program(tmp_path / "usr/lib/chromium/chromium-headless-shell")
    downloads = tmp_path / "downloads"
    program(downloads / "chromium_headless_shell-1/chrome-headless-shell-linux64/chrome-headless-shell")
    settings = environ(tmp_path, PLAYWRIGHT_BROWSERS_PATH=str(downloads))
    # One of another Playwright version is not taken.
    assert installed(["chromium"], environ=settings, root=tmp_path)[0].path.startswith(f"{tmp_path}/usr")
    revision = revisions["chromium-headless-shell"]
    own = program(
        downloads / f"chromium_headless_shell-{revision}/chrome-headless-shell-linux64/chrome-headless-shell"
    )
    firefox = program(downloads / f"firefox-{revisions['firefox']}/firefox/firefox")
    found = {f.browser: f for f in installed(environ=settings, root=tmp_path)}
    assert (found["chromium"].path, found["chromium"].headless_shell) == (str(own), True)
    assert found["chromium"].version
    assert (found["firefox"].path, found["firefox"].channel) == (str(firefox), None)


def test_the_variable_comes_first(tmp_path: Path) -> None:
    program(tmp_path / "usr/lib/chromium/chromium-headless-shell")
    mine = program(tmp_path / "my-chromium")
    fox = program(tmp_path / "fox")
    settings = environ(tmp_path, TB_BROWSER=f"{mine}, firefox={fox}")
    assert [f.path for f in installed(environ=settings, root=tmp_path)] == [str(mine), str(fox)]
    assert [f.path for f in installed(["firefox"], environ=settings, root=tmp_path)] == [str(fox)]
    with pytest.raises(SettingsError, match="there is no program at"):
        installed(environ=environ(tmp_path, TB_BROWSER=f"chromium={tmp_path}/missing"), root=tmp_path)
    with pytest.raises(SettingsError, match="TB_BROWSER"):
        installed(environ=environ(tmp_path, TB_BROWSER="netscape"), root=tmp_path)


async def test_what_is_there_is_not_installed() -> None:
    said: list[str] = []
    (found,) = await ensure(["chromium"], said.append)
    assert found.browser == "chromium"
    assert said == []


async def test_when_nothing_helps_the_error_says_how_to_mend(tmp_path: Path) -> None:
    said: list[str] = []
    settings = environ(tmp_path, PLAYWRIGHT_DOWNLOAD_HOST="http://127.0.0.1:1")
    with pytest.raises(
        BrowserNotFound, match=r"looked for webkit.*TB_BROWSER.*Tried `playwright install webkit`"
    ):
        await ensure(["webkit"], said.append, environ=settings, limit=20)
    assert "webkit is not installed" in said[0]


async def test_installing_ends_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # The leader starts a child of its own; both would stay for a minute.
    command = ["sh", "-c", f"sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"]

    def left() -> list[int]:
        return [p for p in map(int, pids.read_text().split()) if psutil.pid_exists(p) and not zombie(p)]

    def zombie(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    began = time.monotonic()
    assert await run_command(command, os.environ, 0.3) == "not done after 0.3 s"
    assert time.monotonic() - began < 5
    await eventually(lambda: not left(), what="the command's processes have ended")

    pids.unlink()
    task = asyncio.create_task(run_command(command, os.environ, 60))
    await eventually(pids.exists)
    assert left()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not left(), what="the command's processes have ended")


async def test_a_commands_trouble_is_told() -> None:
    assert await run_command(["true"], os.environ, 10) == ""
    assert (
        await run_command(["sh", "-c", "echo so; echo Error: no room; exit 3"], os.environ, 10)
        == "Error: no room"
    )
    assert await run_command(["false"], os.environ, 10) == "exit code 1"
    assert "does not start" in await run_command(["/nowhere/at-all"], os.environ, 10)


async def test_a_browser_that_does_not_start_is_told_and_none_is_an_error(tmp_path: Path) -> None:
    broken = program(tmp_path / "chromium")
    said: list[str] = []
    executor = BrowserExecutor([f"chromium={broken}"], say=said.append)
    with pytest.raises(BrowserNotStarted, match="does not start"):
        await executor.start()
    assert executor.platforms == ()
    assert any("starting chromium" in text for text in said)
