"""Getting a browser where there is none: Playwright's download, then the system's packages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from broker_config.errors import BrowserNotFound

from .finder import VARIABLE, installed
from .found import FoundBrowser, parse_wanted

#: Seconds for one attempt at installing.
INSTALL_LIMIT = 300.0
_DOWNLOADS = {
    "chromium": ("chromium", "--only-shell"),
    "chrome": ("chrome",),
    "msedge": ("msedge",),
    "firefox": ("firefox",),
    "webkit": ("webkit",),
}
_DEBIAN = {"chromium": "chromium-headless-shell", "firefox": "firefox-esr"}


async def ensure(
    wanted: Sequence[str] | None,
    say: Callable[[str], None],
    *,
    environ: Mapping[str, str] = os.environ,
    limit: float = INSTALL_LIMIT,
) -> list[FoundBrowser]:
    """The browsers asked for (as in `finder.installed`), installed if need be; None is content with any.

    `say` gets a sentence at each thing that takes time. Raises `BrowserNotFound` where none of them is there
    in the end. Each attempt ends after `limit` seconds; its processes end with it, on cancellation too.
    """
    found = installed(wanted, environ=environ)
    if wanted is None:
        missing = [] if found else ["chromium"]
    else:
        missing = [
            w.browser for w in map(parse_wanted, wanted) if w.browser not in {f.browser for f in found}
        ]
    tried: list[str] = []
    for browser in dict.fromkeys(missing):
        for what, command in _attempts(browser):
            say(f"{browser} is not installed; trying {what}, which can take some minutes")
            trouble = await run_command(command, environ, limit)
            got = installed([browser], environ=environ)
            if got:
                found += got
                say(f"installed {got[0]}")
                break
            tried.append(f"{what}: {trouble or 'done, but no browser is there'}")
            say(f"{what} did not help: {trouble or 'done, but no browser is there'}")
    if not found:
        names = ", ".join(dict.fromkeys(missing))
        raise BrowserNotFound(
            f"no usable browser on this machine (looked for {names}). Install one (Debian: apt install "
            f"chromium-headless-shell; elsewhere: playwright install chromium), or set {VARIABLE} to "
            "the path of one." + "".join(f" Tried {t}." for t in tried)
        )
    return found


def _attempts(browser: str) -> list[tuple[str, list[str]]]:
    """What can be tried on this machine, first things first."""
    name = " ".join(("playwright install", *_DOWNLOADS[browser]))
    attempts = [(f"`{name}`", [sys.executable, "-m", *name.split()])]
    package, apt = _DEBIAN.get(browser), shutil.which("apt-get")
    if package and apt and sys.platform == "linux" and os.geteuid() == 0:
        script = f"{apt} update -q && {apt} install -q -y --no-install-recommends {package}"
        attempts.append((f"`apt-get install {package}`", ["sh", "-c", script]))
    return attempts


async def run_command(command: Sequence[str], environ: Mapping[str, str], limit: float) -> str:
    """Run a command for at most `limit` seconds; returns "" when it went well, else what went wrong.

    It leads a process group of its own, and the whole group ends with it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**environ, "DEBIAN_FRONTEND": "noninteractive"},
            start_new_session=True,
        )
    except OSError as e:
        return f"{Path(command[0]).name} does not start: {e}"
    try:
        async with asyncio.timeout(limit):
            output, _ = await process.communicate()
    except TimeoutError:
        return f"not done after {limit:g} s"
    finally:
        _kill_group(process)
    if process.returncode == 0:
        return ""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("error", "e:", "failed"))] or lines
    return (telling or [f"exit code {process.returncode}"])[0].rstrip(".")[:200]


def _kill_group(process: asyncio.subprocess.Process) -> None:
    if sys.platform != "win32":
        # Also where the leader has ended: what it started may still run.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.returncode is None:
        with contextlib.suppress(OSError):
            process.kill()
