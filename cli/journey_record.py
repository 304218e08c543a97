"""Playwright's recorder: a browser window in which somebody clicks, and the code of what was done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from broker_config.errors import BrowserNotFound, BrowserNotStarted
from runner.browser.finder import windowed
from runner.browser.found import FoundBrowser

#: Seconds for the recorder to end when it is told to.
GRACE = 5.0
_CLASSES = {"firefox": "firefox", "webkit": "webkit"}


def display_problem(environ: Mapping[str, str], system: str = sys.platform) -> str | None:
    """Why no window can be opened here, in words; None where one can."""
    if system in ("win32", "darwin") or environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        return None
    return (
        "there is no display here, and recording needs a window; run it on a desktop, or record there with "
        "`playwright codegen --target python-async --output recorded.py` and bring the file to "
        "`tb journeys import`"
    )


def recorder(url: str, code: Path, browser: FoundBrowser) -> tuple[list[str], dict[str, str]]:
    """Command and variables of Playwright's recorder, which writes into the file `code`."""
    command = [sys.executable, "-m", "playwright", "codegen", "--target", "python-async"]
    command += ["--browser", _CLASSES.get(browser.browser, "chromium"), "--output", str(code), url]
    return command, {"PWTEST_CLI_EXECUTABLE_PATH": browser.path}


async def record(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """The recorded code, when the window was closed.

    Raises `BrowserNotFound` where there is no display or no browser with a window, `BrowserNotStarted` where
    the recorder fails or nothing was recorded.
    """
    if problem := display_problem(environ):
        raise BrowserNotFound(problem)
    # A stock Firefox is driven in another way than the recorder drives it.
    browsers = [b for b in windowed(environ=environ) if b.channel != "moz-firefox"]
    if not browsers:
        raise BrowserNotFound(
            "recording needs a browser with a window: install Chrome or Chromium, or name one in TB_BROWSER"
        )
    with tempfile.TemporaryDirectory(prefix="trafficbuster-record-") as folder:
        code = Path(folder) / "recorded.py"
        command, more = recorder(url, code, browsers[0])
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**environ, **more},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=sys.platform != "win32",
        )
        try:
            _, said = await process.communicate()
        finally:
            await _end(process)
        text = code.read_text("utf-8") if code.is_file() else ""
        if process.returncode:
            reason = (said.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
            raise BrowserNotStarted(f"the recorder ended with exit code {process.returncode}: {reason}")
        if not text.strip():
            raise BrowserNotStarted("nothing was recorded: click in the window before you close it")
        return text


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the recorder and its browser, where it still runs."""
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()
                return
